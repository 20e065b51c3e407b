"""Benchmarks share their options, and load what these say."""

from pathlib import Path

import torch

from models.benchmarks.command_line import benchmark_parser, detector_parser, load_measured


def test_every_benchmark_knows_threads_and_output() -> None:
    arguments = benchmark_parser("title\n\n    command").parse_args(["--threads", "3", "--output", "a.json"])
    assert (arguments.threads, arguments.output) == (3, Path("a.json"))


def test_a_detector_is_loaded_as_the_options_say() -> None:
    before = torch.get_num_threads()
    try:
        arguments = detector_parser(None).parse_args(["--device", "cpu", "--threads", "1"])
        detector = load_measured(arguments, "bf16")
        assert (detector.name, detector.device, detector.precision) == ("pages-small", "cpu", "bf16")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
