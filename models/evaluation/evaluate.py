"""How well and how fast a detector detects with several kinds of attention, on the same images, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.attention.factory import make_attention
from models.config import AttentionConfig, DetrConfig
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.detr.multiply_adds import Gflops, exact_gflops, gflops
from models.evaluation.attention_runs import Answer, compare, side_by_side
from models.evaluation.coco_metrics import CocoMetrics, coco_metrics
from models.evaluation.fidelity import Fidelity, ImageFidelity, fidelity
from models.evaluation.operating_point import Answers, answers, labelled_classes
from models.evaluation.oracle_boxes import localized
from models.evaluation.resampling import resampled_ap

EXACT: Final = AttentionConfig.exact()


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds of one image in `Detector.predict`, over the images, and the mean of its two parts."""

    median: float
    mean: float
    backbone: float
    transformer: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one kind of attention did: precision, and means over the images.

    `localized_ap` is what AP would be if every box were right: see `localized`. `answers` is what a caller gets who
    leaves the service's least score as it is.
    `tokens` is N; `clusters` C of each encoder layer, mean over its heads, and `cluster_ratio` the mean of C/N (both
    empty where nothing is clustered). `exact_gflops` is what exact attention costs on the same images. `fidelity` is
    None for exact attention itself. `resampled_ap`: see `models.evaluation.resampling`; as many as were asked for.
    `unlabelled` are the model's classes that have no object in any image: AP and `answers` are without them.
    """

    attention: AttentionConfig
    images: int
    metrics: CocoMetrics
    localized_ap: float
    answers: Answers
    tokens: float
    clusters: tuple[float, ...]
    cluster_ratio: tuple[float, ...]
    gflops: Gflops
    exact_gflops: Gflops
    fidelity: Fidelity | None
    speed: Speed
    resampled_ap: tuple[float, ...] = ()
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Record:
    """What is kept of one image and one kind of attention."""

    detections: Detections
    tokens: int
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
    """Detect in every sample with every kind of attention, and score all that was found; one entry a kind, in order.

    Samples are taken one at a time and let go. The backbone runs once an image; every image starts with another kind
    of attention, so that none is always the first. Exact attention runs in any case: the others are compared with it.
    Ground truth of classes that the model has not is left out, and so are answers of classes without any ground truth,
    for which see `Evaluation.unlabelled`. `resamples`: how often AP is found again on images
    drawn from these, the same ones for every kind. `nms`: see `Detections.select`; fidelity is of all queries.

    Raises ValueError for no attention, no samples, or no ground truth of the model's classes.
    """
    if not attentions:
        raise ValueError("there is no attention to evaluate")
    kinds = tuple(dict.fromkeys((EXACT, *attentions)))
    records: dict[AttentionConfig, list[_Record]] = {kind: [] for kind in kinds}
    truths: list[GroundTruth] = []
    for place, sample in enumerate(samples):
        image = detector.preprocess(sample.image)
        if not truths:
            side_by_side(detector, image, kinds)  # the first pass of all is slower than any other
        first = place % len(kinds)
        answers = side_by_side(detector, image, kinds[first:] + kinds[:first])
        height, width = sample.image.shape[:2]
        for kind, answer in answers.items():
            nearness = None if kind == EXACT else compare(answers[EXACT], answer, height, width)
            records[kind].append(_record(detector.config, kind, answer, nearness, nms))
        truths.append(sample.truth.of_classes(detector.labels))
    if not truths:
        raise ValueError("there is nothing to evaluate on")
    labelled = labelled_classes(truths)
    unlabelled = tuple(name for name in detector.labels if name not in labelled)
    found = (_evaluation(detector.config, kind, records[kind], truths, resamples) for kind in attentions)
    return tuple(replace(one, unlabelled=unlabelled) for one in found)


def _record(
    config: DetrConfig, kind: AttentionConfig, answer: Answer, nearness: ImageFidelity | None, nms: float | None
) -> _Record:
    (tokens,) = answer.output.encoded.tokens.lengths
    clusters = answer.clusters
    by_layer = [sum(heads) for heads in clusters] or [0] * config.encoder_layers
    (refined,) = answer.output.refined
    cost = gflops(config, make_attention(kind), tokens, by_layer, refined)
    found = answer.detections.select(nms=nms)
    return _Record(found, tokens, refined, clusters, cost, nearness, answer.backbone_ms, answer.transformer_ms)


def _evaluation(
    config: DetrConfig,
    kind: AttentionConfig,
    records: Sequence[_Record],
    truths: Sequence[GroundTruth],
    resamples: int,
) -> Evaluation:
    clusters = np.array([[np.mean(heads) for heads in record.clusters] for record in records])
    tokens = np.array([record.tokens for record in records])
    compared = [record.fidelity for record in records if record.fidelity is not None]
    predictions = [record.detections for record in records]
    return Evaluation(
        attention=kind,
        images=len(records),
        metrics=coco_metrics(predictions, truths),
        localized_ap=coco_metrics(localized(predictions, truths), truths).ap,
        answers=answers(predictions, truths),
        tokens=float(tokens.mean()),
        clusters=tuple(clusters.mean(0).tolist()),
        cluster_ratio=tuple((clusters / tokens[:, None]).mean(0).tolist()),
        gflops=Gflops.mean([record.gflops for record in records]),
        exact_gflops=Gflops.mean([exact_gflops(config, record.tokens, record.refined) for record in records]),
        fidelity=fidelity(compared) if compared else None,
        speed=_speed(records),
        resampled_ap=resampled_ap(predictions, truths, resamples) if resamples else (),
    )


def _speed(records: Sequence[_Record]) -> Speed:
    backbone = [record.backbone_ms for record in records]
    transformer = [record.transformer_ms for record in records]
    whole = [sum(parts) for parts in zip(backbone, transformer, strict=True)]
    return Speed(
        statistics.median(whole), statistics.fmean(whole), statistics.fmean(backbone), statistics.fmean(transformer)
    )
