"""Benchmark of the time that a score threshold saves: `python -m models.benchmarks.threshold --help`.

Boxes that cannot reach an image's threshold are not refined. Held-out pages run through `Detector.predict` with several
thresholds in alternation, and through the same model without box refinement.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from models.attention_config import AttentionConfig
from models.benchmarks.command_line import detector_parser, load_measured
from models.data.samples import PageSamples
from models.detections import Prediction
from models.detector import Detector
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, interleaved
from models.preprocess import PreparedImage

THRESHOLDS = (0.0, 0.1, 0.5, 0.9)
UNREFINED = "without refinement"


def calls_by_threshold(
    detector: Detector, images: Sequence[PreparedImage], thresholds: Sequence[float]
) -> Mapping[str, Callable[[], list[Prediction]]]:
    """Return a call for each threshold that detects in all images, and one without box refinement."""
    predict = partial(detector.predict, images, AttentionConfig.exact())
    calls = {str(threshold): partial(predict, [threshold] * len(images)) for threshold in thresholds}
    return calls | {UNREFINED: partial(detector.without_box_refinement().predict, images, AttentionConfig.exact())}


def per_image(timing: Timing, images: int) -> Timing:
    """Divide the time of a call by the number of images it detects in."""
    return Timing(timing.median / images, timing.low / images, timing.high / images)


def table(times: dict[str, Timing]) -> Table:
    """One row per threshold."""
    first = next(iter(times))
    rows = Table("threshold", "median", "quartile 1", "quartile 3", f"relative to {first}", title="ms per page")
    for name, time in times.items():
        milliseconds = (f"{value:.1f}" for value in (time.median, time.low, time.high))
        rows.add_row(name, *milliseconds, f"{time.median / times[first].median:.3f}")
    return rows


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__)
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = load_measured(arguments)
    device = torch.device(detector.device)
    images = [detector.preprocess(sample.image) for sample in PageSamples(arguments.pages)]
    calls = calls_by_threshold(detector, images, arguments.thresholds)
    times = interleaved(calls, device, arguments.repeats)
    times = {name: per_image(time, len(images)) for name, time in times.items()}
    measured = {name: asdict(time) for name, time in times.items()}
    results = {"model": detector.name, "pages": len(images), "repeats": arguments.repeats, "milliseconds": measured}
    write_results(arguments.output, run_environment(device) | results)
    Console(width=100).print(table(times))


if __name__ == "__main__":
    main()
