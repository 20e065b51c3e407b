"""Images a second of a DETR by several engines, side by side: `python -m models.benchmarks.throughput --help`.

All engines have the same weights and get the same resized pages. A call takes a batch from pixels to detections. What
each computes is compared with float32 and exact attention: `logits` and `boxes` are the largest differences, boxes
relative to the image; `scores` the largest difference of a class's probability.

Each engine has threads of its own, which go on spinning for some milliseconds after a call. The engines take turns,
with a pause before every call, so that none computes beside the spinning threads of another.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.allocator import keep_freed_memory
from models.benchmarks.engines import ENGINES
from models.benchmarks.workload import MODELS, Engine, Unavailable, Workload, make_workload, reference_outputs
from models.config import DetrConfig
from models.data.pages.held_out import held_out_pages
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, clock_name, interleaved
from models.preprocess import PreparedImage

PAUSE = 0.1
"""Seconds before each call: threads have stopped spinning by then."""


@dataclass(frozen=True, slots=True)
class Row:
    """One engine. `images_per_second` is of the median; `relative` to the first engine's; differences as above."""

    engine: str
    images_per_second: float
    relative: float
    milliseconds_per_batch: Timing
    logits: float
    scores: float
    boxes: float


def size(text: str) -> tuple[int, int]:
    """Read HxW, in pixels."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def pages(count: int, height: int, width: int, device: torch.device) -> list[PreparedImage]:
    """Draw held-out pages of this size, ready for the model; for a GPU in pinned memory."""
    images = []
    for page in held_out_pages(count, height, width):
        pixels = torch.empty((3, height, width), dtype=torch.uint8, pin_memory=device.type == "cuda")
        np.copyto(pixels.numpy(), np.asarray(page.image).transpose(2, 0, 1))
        images.append(PreparedImage(pixels, height, width))
    return images


def make_engines(names: Sequence[str], work: Workload) -> tuple[list[Engine], dict[str, str]]:
    """Make the engines that can run here; of the others, say why not."""
    engines: list[Engine] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            engines += ENGINES[name](work)
        except Unavailable as error:
            missing[name] = str(error)
    return engines, missing


def measure(engines: Sequence[Engine], work: Workload, images: Sequence[PreparedImage], repeats: int) -> list[Row]:
    """Compare what the engines compute for the first image, then time all of them in turn on the whole batch."""
    logits, boxes = reference_outputs(work, images[:1])
    timings = interleaved({one.name: partial(one.detect, images) for one in engines}, work.device, repeats, PAUSE)
    rows = []
    for engine in engines:
        own_logits, own_boxes = engine.outputs(images[:1])
        timing, first = timings[engine.name], timings[engines[0].name]
        rows.append(
            Row(
                engine=engine.name,
                images_per_second=len(images) / timing.median * 1e3,
                relative=first.median / timing.median,
                milliseconds_per_batch=timing,
                logits=float((own_logits - logits).abs().max()),
                scores=float((own_logits.softmax(-1) - logits.softmax(-1)).abs().max()),
                boxes=float((own_boxes - boxes).abs().max()),
            )
        )
    return rows


def table(rows: Sequence[Row], missing: Mapping[str, str]) -> Table:
    """One row per engine."""
    columns = ("engine", "images/s", "relative", "ms a batch", "scores differ by", "boxes differ by")
    made = Table(*columns, title="differences from float32 and exact attention, the largest of one page")
    for row in rows:
        rates = (f"{row.images_per_second:.3g}", f"{row.relative:.2f}", f"{row.milliseconds_per_batch.median:.1f}")
        made.add_row(row.engine, *rates, f"{row.scores:.1e}", f"{row.boxes:.1e}")
    for name, reason in missing.items():
        made.add_row(name, escape(reason))
    return made


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="r50", help="r50 and dc5 have random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--attention", nargs="+", default=["exact"], help="settings of our encoder")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--size", type=size, default=(800, 1066), metavar="HxW", help="of the resized images")
    parser.add_argument("--batch", type=int, default=1, help="images a call")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=7, help="calls of each engine, at least 2")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write, print."""
    arguments = parse_arguments(argv)
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.allow_tf32 = arguments.precision != "fp32"  # or a GPU's fp32 would be of ten bits
    device = torch.device(arguments.device)
    work = make_workload(arguments.model, device, arguments.precision, arguments.attention)
    before = run_environment(device)
    engines, missing = make_engines(arguments.engines, work)
    height, width = arguments.size
    images = pages(arguments.batch, height, width, device)
    rows = measure(engines, work, images, arguments.repeats) if engines else []
    results = {
        **run_environment(device),
        "load_average_before": before["load_average"],
        "clock": clock_name(device),
        "model": arguments.model,
        "tokens": tokens(work.ours.config, height, width),
        "precision": arguments.precision,
        "size": arguments.size,
        "batch": arguments.batch,
        "repeats": arguments.repeats,
        "attention": arguments.attention,
        "engines": [asdict(row) for row in rows],
        "unavailable": missing,
    }
    write_results(arguments.output, results)
    Console(width=120).print(table(rows, missing))


def tokens(config: DetrConfig, height: int, width: int) -> int:
    """How many encoder tokens an image makes."""
    return -(-height // config.backbone.stride) * -(-width // config.backbone.stride)


if __name__ == "__main__":
    main()
