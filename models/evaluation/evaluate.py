"""Average precision of a detector with several kinds of attention, side by side.

    python -m models.evaluation.evaluate --pages 200 --attention exact --attention act:L=16,r=2
    python -m models.evaluation.evaluate --images DIR --annotations FILE.json

The first scores on generated pages that training never renders, the second on any images with COCO annotations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.config import AttentionConfig
from models.detections import Prediction
from models.detector import Detector, load_detector
from models.evaluation.coco_metrics import CocoMetrics, GroundTruth, coco_metrics, read_coco
from models.training.page_stream import held_out_pages
from models.training.pages import LABELS, Page


@dataclass(frozen=True, slots=True)
class Sample:
    """A uint8 RGB image [H, W, 3] and what is in it."""

    image: NDArray[np.uint8]
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one kind of attention did: precision, and means over the images.

    `cluster_ratio` is C/N of each encoder layer (empty for exact attention), `encoder_gflops` giga multiply-adds,
    `milliseconds` the time of one image without decoding, on a machine that may have had other work.
    """

    attention: AttentionConfig
    images: int
    metrics: CocoMetrics
    cluster_ratio: tuple[float, ...]
    encoder_gflops: float
    exact_encoder_gflops: float
    milliseconds: float


def evaluate(detector: Detector, samples: Iterable[Sample], attention: AttentionConfig) -> Evaluation:
    """Detect in every sample and score all that was found. Raises ValueError for no samples."""
    predictions: list[Prediction] = []
    truths = []
    seconds = 0.0
    for sample in samples:
        began = time.perf_counter()
        predictions.append(detector.detect(sample.image, attention))
        seconds += time.perf_counter() - began
        truths.append(sample.truth)
    if not predictions:
        raise ValueError("there is nothing to evaluate on")
    reports = [prediction.attention for prediction in predictions]
    ratios = np.array([[layer.mean / report.tokens for layer in report.clusters] for report in reports])
    return Evaluation(
        attention=attention,
        images=len(predictions),
        metrics=coco_metrics([prediction.detections for prediction in predictions], truths),
        cluster_ratio=tuple(ratios.mean(0).tolist()),
        encoder_gflops=float(np.mean([report.encoder_gflops for report in reports])),
        exact_encoder_gflops=float(np.mean([report.exact_encoder_gflops for report in reports])),
        milliseconds=1000 * seconds / len(predictions),
    )


def page_samples(count: int, height: int = 792, width: int = 612) -> Iterator[Sample]:
    """Held-out generated pages, of a journal's size by default."""
    for page in held_out_pages(count, height, width):
        yield Sample(np.asarray(page.image), page_truth(page))


def page_truth(page: Page) -> GroundTruth:
    """What is on a generated page, by class name."""
    return GroundTruth(page.boxes_xyxy, tuple(LABELS[label] for label in page.labels))


def coco_samples(images: Path, annotations: Path) -> Iterator[Sample]:
    """Images of a folder with a COCO annotation file."""
    for image in read_coco(annotations):
        with Image.open(images / image.file_name) as opened:
            yield Sample(np.asarray(opened.convert("RGB")), image.truth)


def print_table(evaluations: Sequence[Evaluation]) -> None:
    """One row a kind of attention."""
    table = Table("attention", "AP", "AP50", "AP75", *LABELS, "C/N by layer", "encoder GFLOPs", "ms an image")
    for row in evaluations:
        metrics = row.metrics
        table.add_row(
            str(row.attention),
            *(f"{value:.3f}" for value in (metrics.ap, metrics.ap50, metrics.ap75)),
            *(f"{metrics.by_class[label]:.3f}" if label in metrics.by_class else "-" for label in LABELS),
            " ".join(f"{ratio:.2f}" for ratio in row.cluster_ratio) or "-",
            f"{row.encoder_gflops:.3f} of {row.exact_encoder_gflops:.3f}",
            f"{row.milliseconds:.0f}",
        )
    Console(width=160).print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pages-small")
    parser.add_argument("--pages", type=int, default=200, help="how many generated pages")
    parser.add_argument("--images", type=Path, help="folder of images, instead of generated pages")
    parser.add_argument("--annotations", type=Path, help="their COCO annotation file")
    parser.add_argument("--attention", action="append", type=AttentionConfig.parse, help="exact, act:L=16,r=2, ...")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    if (options.images is None) != (options.annotations is None):
        parser.error("--images and --annotations go together")
    torch.set_num_threads(options.threads)
    detector = load_detector(options.model)
    if options.images is None:
        samples = list(track(page_samples(options.pages), "rendering pages", total=options.pages))
    else:
        samples = list(coco_samples(options.images, options.annotations))
    evaluations = [
        evaluate(detector, track(samples, str(attention)), attention)
        for attention in options.attention or [AttentionConfig.exact()]
    ]
    print_table(evaluations)
    if options.output:
        options.output.write_text(json.dumps(as_json(evaluations), indent=1) + "\n", encoding="utf-8")


def as_json(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The results and what it takes to repeat them."""
    return {
        "command": ["python", "-m", "models.evaluation.evaluate", *sys.argv[1:]],
        "torch": torch.__version__,
        "evaluations": [asdict(row) for row in evaluations],
    }


if __name__ == "__main__":
    main()
