"""Benchmark of tiles: `python -m models.benchmarks.tiles --help`.

Long images are made of generated pages, one under another. They are detected in page by page, which no tile can do
better; as a whole; and cut into tiles, whose borders lie anywhere on the pages.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.attention_config import AttentionConfig
from models.benchmarks.command_line import detector_parser, load_measured
from models.data.coco import GroundTruth
from models.data.open_samples import open_samples
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.operating_point import operating_point
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import clock

LEAST_SCORE = 0.02
"""Minimum score of detections that AP is computed of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """AP; precision and recall of scores from 0.5 on; mean milliseconds of a long image."""

    ap: float
    precision: float
    recall: float
    milliseconds: float


def long_image(pages: Sequence[Sample]) -> Sample:
    """Put pages of one width under one another."""
    tops = _tops([page.image for page in pages])
    boxes = [page.truth.boxes_xyxy + np.array((0, top, 0, top)) for page, top in zip(pages, tops, strict=True)]
    labels = tuple(label for page in pages for label in page.truth.labels)
    return Sample(np.concatenate([page.image for page in pages]), GroundTruth(np.concatenate(boxes), labels))


def page_by_page(detector: Detector, images: Sequence[NDArray[np.uint8]], attention: AttentionConfig) -> Detections:
    """Detect in each page by itself; return what is found in pixels of the long image, best first."""
    found = [_detect(detector, image, attention, None) for image in images]
    offsets = np.array([(0, top, 0, top) for top in _tops(images)], np.float32)
    boxes = np.concatenate([one.boxes_xyxy + offset for one, offset in zip(found, offsets, strict=True)])
    scores = np.concatenate([one.scores for one in found])
    labels = [label for one in found for label in one.labels]
    order = np.argsort(-scores, kind="stable")
    return Detections(boxes[order], scores[order], tuple(labels[row] for row in order))


def measure(
    detector: Detector, images: Sequence[Sequence[Sample]], tilings: Sequence[str], attention: AttentionConfig
) -> dict[str, Outcome]:
    """Detect in long images of so many pages each in every way; ways take turns at being first."""
    now = clock(torch.device(detector.device))
    found: dict[str, list[Detections]] = {}
    spent: dict[str, float] = {}
    truths = []
    for turn, pages in enumerate(images):
        image = long_image(pages)
        truths.append(image.truth)
        ways = _ways(detector, pages, image, tilings, attention)
        for name in list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]:
            start = now()
            found.setdefault(name, []).append(ways[name]())
            spent[name] = spent.get(name, 0.0) + now() - start
    return {name: _outcome(found[name], truths, spent[name]) for name in ("page by page", "whole", *tilings)}


def _ways(
    detector: Detector, pages: Sequence[Sample], image: Sample, tilings: Sequence[str], attention: AttentionConfig
) -> dict[str, Callable[[], Detections]]:
    def cut(tiles: str | None) -> Callable[[], Detections]:
        return lambda: _detect(detector, image.image, attention, tiles)

    by_page = {"page by page": lambda: page_by_page(detector, [page.image for page in pages], attention)}
    return by_page | {"whole": cut(None)} | {tiles: cut(tiles) for tiles in tilings}


def _detect(detector: Detector, image: NDArray[np.uint8], attention: AttentionConfig, tiles: str | None) -> Detections:
    found = detector.detect(image, attention, LEAST_SCORE, tiles=tiles).detections
    return found.select(nms=detector.config.nms)


def _tops(images: Sequence[NDArray[np.uint8]]) -> list[int]:
    """First rows of images in one of all of them, one under another."""
    return [sum(image.shape[0] for image in images[:i]) for i in range(len(images))]


def _outcome(found: Sequence[Detections], truths: Sequence[GroundTruth], seconds: float) -> Outcome:
    point = operating_point(found, truths)
    return Outcome(coco_metrics(found, truths).ap, point.precision, point.recall, seconds * 1e3 / len(found))


def table(outcomes: dict[str, Outcome], pages: int) -> Table:
    """One row per way to detect in a long image."""
    rows = Table(f"{pages} pages", "AP", "precision", "recall", "ms per image")
    for name, one in outcomes.items():
        shares = (f"{value:.3f}" for value in (one.ap, one.precision, one.recall))
        rows.add_row(name, *shares, f"{one.milliseconds:.0f}")
    return rows


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__)
    parser.add_argument("--data", default="journals:24", help="pages or journals[:COUNT[:HEIGHTxWIDTH]]")
    parser.add_argument("--pages", type=int, default=3, help="pages of a long image")
    parser.add_argument("--tiles", nargs="+", default=["auto", "4x1", "3x2"], help="ROWSxCOLUMNS or auto")
    parser.add_argument("--attention", default="exact", help="exact, tangent:C=16, act:L=16,r=1")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = load_measured(arguments)
    samples, attention = open_samples(arguments.data), detector.config.attention(arguments.attention)
    starts = range(0, len(samples) - arguments.pages + 1, arguments.pages)
    images = [[samples[first + i] for i in range(arguments.pages)] for first in starts]
    detector.warm_up()
    outcomes = measure(detector, images, arguments.tiles, attention)
    results = {
        "model": detector.name,
        "data": samples.described(),
        "pages": arguments.pages,
        "attention": str(attention),
        "outcomes": {name: asdict(one) for name, one in outcomes.items()},
    }
    write_results(arguments.output, run_environment(torch.device(detector.device)) | results)
    Console(width=100).print(table(outcomes, arguments.pages))


if __name__ == "__main__":
    main()
