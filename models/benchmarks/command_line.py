"""What the command lines of the benchmarks share: options, and how a detector is loaded to be measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.allocator import keep_freed_memory
from models.detector import Detector, load_detector


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: CPU threads and the file to write."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser


def detector_parser(description: str | None, model: str = "pages-small") -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark of a detector; `model` is the default."""
    parser = benchmark_parser(description)
    parser.add_argument("--model", default=model, help="name, file or folder")
    parser.add_argument("--device", default="auto")
    return parser


def prepare_process(threads: int) -> None:
    """Keep freed memory as the service does, and compute with so many CPU threads."""
    keep_freed_memory()
    torch.set_num_threads(threads)


def load_measured(arguments: argparse.Namespace, precision: str = "auto") -> Detector:
    """Prepare the process and load the detector that a `detector_parser` was told."""
    prepare_process(arguments.threads)
    return load_detector(arguments.model, device=arguments.device, precision=precision)
