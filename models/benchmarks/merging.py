"""Benchmark of token merging beside attention modes: `python -m models.benchmarks.merging --help`.

Held-out pages pass the backbone once and everything after it once per setting, in turns. So accuracy and time are of
the same pass.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from models.attention.factory import make_attention
from models.benchmarks.command_line import detector_parser, load_measured
from models.benchmarks.token_merging import MergeSetting, Where, encode_merged, merged_gflops
from models.config import AttentionConfig, DetrConfig
from models.data.coco import GroundTruth
from models.data.samples import PageSamples, Sample
from models.detections import Detections
from models.detector import Detector
from models.detr.canvas import token_grid
from models.detr.encoder import Encoded, Encoder
from models.detr.multiply_adds import gflops
from models.evaluation.coco_metrics import coco_metrics
from models.images import PackedTokens
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import clock
from models.postprocess import read_detections

ATTENTIONS = ("exact", "act", "tangent:C=16")
MERGINGS = (
    *(f"once-cell-{ratio}" for ratio in (0.25, 0.5, 0.6, 0.75)),
    *(f"once-cell-{ratio}+tangent:C=16" for ratio in (0.25, 0.5, 0.6)),
    *("once-cell-0.5-target", "once-cell-0.5-once-each", "once-global-0.5"),
    *("attention-cell-0.5", "attention-global-0.5", "layer-cell-0.5", "layer-global-0.5"),
)

Setting = AttentionConfig | MergeSetting


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting. `ap` in 0..1; `gflops` of the encoder, mean over the pages.

    Milliseconds are medians over the pages: of the encoder, and of the whole image without preprocessing.
    """

    setting: str
    ap: float
    gflops: float
    encoder_ms: float
    image_ms: float


@dataclass(frozen=True, slots=True)
class PageResult:
    """What is kept of one page with one setting."""

    detections: Detections
    gflops: float
    encoder_ms: float
    image_ms: float


def read_setting(text: str, config: DetrConfig) -> Setting:
    """Read an attention mode as evaluations do, or what `MergeSetting.parse` reads. Raises ValueError."""
    return MergeSetting.parse(text, config) if text.partition("-")[0] in get_args(Where) else config.attention(text)


@torch.inference_mode()
def measure(detector: Detector, samples: Iterable[Sample], settings: Mapping[str, Setting]) -> list[Measurement]:
    """Detect in every sample with every setting. Every page starts with another, so that none is always the first."""
    results: dict[str, list[PageResult]] = {name: [] for name in settings}
    truths: list[GroundTruth] = []
    names = list(settings)
    for i, sample in enumerate(samples):
        if i == 0:
            page_results(detector, sample, settings)  # warm-up
        first = i % len(names)
        in_turn = {name: settings[name] for name in names[first:] + names[:first]}
        for name, result in page_results(detector, sample, in_turn).items():
            results[name].append(result)
        truths.append(sample.truth.of_classes(detector.labels))
    return [measurement(name, pages, truths) for name, pages in results.items()]


def page_results(detector: Detector, sample: Sample, settings: Mapping[str, Setting]) -> dict[str, PageResult]:
    """Run the backbone once, and the rest of the model once for each setting."""
    config, now = detector.config, clock(torch.device(detector.device))
    image = detector.preprocess(sample.image)
    columns = token_grid(image.pixels.shape[1], image.pixels.shape[2], config)[1]
    start = now()
    features = detector.features(image)
    backbone = now() - start
    results = {}
    for name, setting in settings.items():
        start = now()
        encoded = encode(detector.detr.transformer.encoder, features.tokens, columns, setting)
        encoder = now() - start
        output = detector.detr.decode(features, encoded)
        detections = read_detections(output.logits[0].cpu(), output.boxes_cxcywh[0].cpu(), image, config.labels)
        whole = backbone + now() - start
        cost = encoder_gflops(config, setting, encoded)
        results[name] = PageResult(detections.select(nms=config.nms), cost, encoder * 1e3, whole * 1e3)
    return results


def encode(encoder: Encoder, tokens: PackedTokens, columns: int, setting: Setting) -> Encoded:
    """Run the encoder on one image's tokens, of a grid with `columns` columns."""
    if isinstance(setting, MergeSetting):
        return Encoded(encode_merged(encoder, tokens, columns, setting), None)
    encoded: Encoded = encoder(tokens, make_attention(setting))
    return encoded


def encoder_gflops(config: DetrConfig, setting: Setting, encoded: Encoded) -> float:
    """Giga multiply-adds of the encoder for one image."""
    (tokens,) = encoded.tokens.lengths
    if isinstance(setting, MergeSetting):
        return merged_gflops(config, setting, tokens)
    counts = encoded.cluster_counts
    clusters = [0] * config.encoder_layers if counts is None else counts[0].sum(1).tolist()
    return gflops(config, make_attention(setting), tokens, clusters).encoder


def measurement(name: str, pages: Sequence[PageResult], truths: Sequence[GroundTruth]) -> Measurement:
    """Score one setting's detections, and summarise its cost."""
    return Measurement(
        setting=name,
        ap=coco_metrics([page.detections for page in pages], truths).ap,
        gflops=statistics.fmean(page.gflops for page in pages),
        encoder_ms=statistics.median(page.encoder_ms for page in pages),
        image_ms=statistics.median(page.image_ms for page in pages),
    )


def table(measurements: Sequence[Measurement]) -> Table:
    """One row per setting."""
    first = measurements[0]
    rows = Table("setting", "AP", f"lost to {first.setting}", "encoder GFLOPs", "encoder ms", "image ms")
    for one in measurements:
        accuracy = (f"{100 * one.ap:.1f}", f"{100 * (first.ap - one.ap):.1f}")
        rows.add_row(one.setting, *accuracy, f"{one.gflops:.2f}", f"{one.encoder_ms:.0f}", f"{one.image_ms:.0f}")
    return rows


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__, "pages-large")
    parser.add_argument("--settings", nargs="+", default=(*ATTENTIONS, *MERGINGS))
    parser.add_argument("--pages", type=int, default=40)
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = load_measured(arguments, "fp32")
    settings = {text: read_setting(text, detector.config) for text in arguments.settings}
    before = run_environment(torch.device(detector.device))
    measurements = measure(detector, PageSamples(arguments.pages), settings)
    results = {"model": detector.name, "pages": arguments.pages, "measurements": [asdict(one) for one in measurements]}
    write_results(arguments.output, before | results)
    Console(width=100).print(table(measurements))


if __name__ == "__main__":
    main()
