"""Evaluation of a detector with several attention settings on the same images: precision, cost, fidelity, speed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from models.attention_config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.detr.multiply_adds import Gflops
from models.evaluation.attention_runs import AttentionRun, compare, run_attentions
from models.evaluation.coco_metrics import CocoMetrics, coco_metrics
from models.evaluation.fidelity import Fidelity, ImageFidelity, fidelity
from models.evaluation.mistakes import Mistakes, mistakes
from models.evaluation.operating_point import THRESHOLD, OperatingPoint, labelled_classes, operating_point
from models.evaluation.oracle_boxes import with_true_boxes
from models.evaluation.resampling import resampled_ap
from models.networks.network import Network, exact_gflops

EXACT: Final = AttentionConfig.exact()


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds per image in `Detector.predict`: median and mean over the images, and the mean of the two parts."""

    median: float
    mean: float
    backbone: float
    transformer: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of one attention setting, as means over the images.

    `ap_with_true_boxes`: see `with_true_boxes`. `operating_point` holds for the service's default threshold.
    `tokens` is N; `clusters` is C of each encoder layer, mean over its heads, and `cluster_ratio` the mean of C/N
    (both empty where nothing is clustered). `merged_ratio` is the mean share of the tokens that are left in the encoder
    after merging, 1 without. `exact_gflops` is the cost of exact attention on the same images.
    `fidelity` is None for exact attention itself. `resampled_ap`: see `models.evaluation.resampling`; as many as were
    asked for. `unlabelled` are the model's classes without an object in any image: AP and `operating_point` are
    without them. `mistakes` are those of the detections of the operating point, and `detections` these, by image.
    """

    attention: AttentionConfig
    images: int
    metrics: CocoMetrics
    ap_with_true_boxes: float
    operating_point: OperatingPoint
    tokens: float
    clusters: tuple[float, ...]
    cluster_ratio: tuple[float, ...]
    gflops: Gflops
    exact_gflops: Gflops
    fidelity: Fidelity | None
    speed: Speed
    merged_ratio: float = 1.0
    resampled_ap: tuple[float, ...] = ()
    unlabelled: tuple[str, ...] = ()
    mistakes: Mistakes = field(default_factory=lambda: Mistakes({}, ()))
    detections: tuple[Detections, ...] = ()


@dataclass(frozen=True, slots=True)
class _ImageResult:
    """The part of an attention run that is kept."""

    detections: Detections
    tokens: int
    merged_tokens: int | None
    refined: int
    clusters: list[list[int]]
    gflops: Gflops
    fidelity: ImageFidelity | None
    backbone_ms: float
    transformer_ms: float


def evaluate(
    detector: Detector,
    samples: Iterable[Sample],
    attentions: Sequence[AttentionConfig],
    resamples: int = 0,
    nms: float | None = None,
) -> tuple[Evaluation, ...]:
    """Detect in every sample with every attention setting, and score the detections; one evaluation per setting.

    Samples are taken one at a time and not kept. The backbone runs once per image. Every image starts with another
    setting, so that none is always the first. Exact attention runs in any case, as the reference of the others.
    Ground truth of classes that the model does not have is left out, and so are detections of classes without any
    ground truth (`Evaluation.unlabelled`). `resamples` is the number of times that AP is computed again on images
    drawn from these, the same draws for every setting. `nms`: see `Detections.select`; fidelity is of all queries.

    Raises ValueError for no attention, no samples, or no ground truth of the model's classes.
    """
    if not attentions:
        raise ValueError("there is no attention to evaluate")
    settings = tuple(dict.fromkeys((EXACT, *attentions)))
    results: dict[AttentionConfig, list[_ImageResult]] = {setting: [] for setting in settings}
    truths: list[GroundTruth] = []
    for i, sample in enumerate(samples):
        image = detector.preprocess(sample.image)
        if not truths:
            run_attentions(detector, image, settings)  # warm-up: the very first pass is slower than any other
        first = i % len(settings)
        runs = run_attentions(detector, image, settings[first:] + settings[:first])
        height, width = sample.image.shape[:2]
        for setting, run in runs.items():
            nearness = None if setting == EXACT else compare(runs[EXACT], run, height, width, detector.family.scoring)
            results[setting].append(_image_result(detector.network, setting, run, nearness, nms))
        truths.append(sample.truth.of_classes(detector.labels))
    if not truths:
        raise ValueError("there is nothing to evaluate on")
    labelled = labelled_classes(truths)
    unlabelled = tuple(name for name in detector.labels if name not in labelled)
    evaluations = (_evaluation(detector.network, one, results[one], truths, resamples) for one in attentions)
    return tuple(replace(evaluation, unlabelled=unlabelled) for evaluation in evaluations)


def _image_result(
    network: Network, setting: AttentionConfig, run: AttentionRun, nearness: ImageFidelity | None, nms: float | None
) -> _ImageResult:
    (tokens,) = run.output.encoded.tokens.lengths
    (merged,) = run.output.encoded.merged_lengths or (None,)
    (refined,) = run.output.refined
    clusters = run.clusters
    by_layer = [sum(heads) for heads in clusters] or [0] * network.config.encoder_layers
    cost = network.gflops(setting, tokens, by_layer, refined, merged)
    detections = run.detections.select(nms=nms)
    times = run.backbone_ms, run.transformer_ms
    return _ImageResult(detections, tokens, merged, refined, clusters, cost, nearness, *times)


def _evaluation(
    network: Network,
    setting: AttentionConfig,
    results: Sequence[_ImageResult],
    truths: Sequence[GroundTruth],
    resamples: int,
) -> Evaluation:
    clusters = np.array([[np.mean(heads) for heads in result.clusters] for result in results])
    tokens = np.array([result.tokens for result in results])
    compared = [result.fidelity for result in results if result.fidelity is not None]
    predictions = [result.detections for result in results]
    served = [detections.select(THRESHOLD, labels=labelled_classes(truths)) for detections in predictions]
    return Evaluation(
        attention=setting,
        images=len(results),
        metrics=coco_metrics(predictions, truths),
        ap_with_true_boxes=coco_metrics(with_true_boxes(predictions, truths), truths).ap,
        operating_point=operating_point(predictions, truths),
        tokens=float(tokens.mean()),
        clusters=tuple(clusters.mean(0).tolist()),
        cluster_ratio=tuple((clusters / tokens[:, None]).mean(0).tolist()),
        gflops=Gflops.mean([result.gflops for result in results]),
        exact_gflops=Gflops.mean([exact_gflops(network, result.tokens, result.refined) for result in results]),
        fidelity=fidelity(compared) if compared else None,
        speed=_speed(results),
        merged_ratio=statistics.fmean((result.merged_tokens or result.tokens) / result.tokens for result in results),
        resampled_ap=resampled_ap(predictions, truths, resamples) if resamples else (),
        mistakes=mistakes(served, truths),
        detections=tuple(served),
    )


def _speed(results: Sequence[_ImageResult]) -> Speed:
    backbone = [result.backbone_ms for result in results]
    transformer = [result.transformer_ms for result in results]
    totals = [sum(parts) for parts in zip(backbone, transformer, strict=True)]
    return Speed(
        statistics.median(totals), statistics.fmean(totals), statistics.fmean(backbone), statistics.fmean(transformer)
    )
