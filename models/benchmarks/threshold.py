"""What a caller's threshold saves: `python -m models.benchmarks.threshold --help`.

Boxes that cannot reach an image's threshold are not refined. Held-out pages go through `Detector.predict` with several
thresholds side by side, and through the same model without box refinement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detections import Prediction
from models.detector import Detector, load_detector
from models.measurement.environment import run_environment
from models.measurement.timing import Timing, interleaved
from models.preprocess import PreparedImage

THRESHOLDS = (0.0, 0.1, 0.5, 0.9)
PLAIN = "without refinement"


def rivals(
    detector: Detector, images: Sequence[PreparedImage], thresholds: Sequence[float]
) -> Mapping[str, Callable[[], list[Prediction]]]:
    """Name every way to detect in all of the images: a threshold each, and the DETR itself."""
    predict = partial(detector.predict, images, AttentionConfig.exact())
    calls = {str(threshold): partial(predict, [threshold] * len(images)) for threshold in thresholds}
    return calls | {PLAIN: partial(detector.without_box_refinement().predict, images, AttentionConfig.exact())}


def an_image(timing: Timing, images: int) -> Timing:
    """The time of one of the images that a call detects in."""
    return Timing(timing.median / images, timing.low / images, timing.high / images)


def table(times: dict[str, Timing]) -> Table:
    """A row a threshold."""
    shown = Table(title="ms a page: median and quartiles")
    for heading in ("threshold", "median", "from", "to", "of threshold 0"):
        shown.add_column(heading)
    whole = next(iter(times.values())).median
    for name, time in times.items():
        shown.add_row(
            name, *(f"{value:.1f}" for value in (time.median, time.low, time.high)), f"{time.median / whole:.3f}"
        )
    return shown


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pages-small", help="name, checkpoint file or folder; with a box refinement")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    detector = load_detector(arguments.model, device=arguments.device)
    device = torch.device(detector.device)
    images = [detector.preprocess(sample.image) for sample in PageSamples(arguments.pages)]
    calls = rivals(detector, images, arguments.thresholds)
    times = interleaved(calls, device, arguments.repeats)
    times = {name: an_image(time, len(images)) for name, time in times.items()}
    Console(width=100).print(table(times))
    if arguments.output:
        measured = {name: asdict(time) for name, time in times.items()}
        told = {"model": detector.name, "pages": len(images), "repeats": arguments.repeats, "milliseconds": measured}
        text = json.dumps(run_environment(device) | told, indent=2)
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
