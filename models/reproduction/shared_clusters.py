"""Does it pay to share clusters among layers by what they bring? Against one C for all, at equal cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from models.attention.exact import ExactAttention
from models.attention.strategy import AttentionStrategy
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.evaluation.attention_runs import Answer, compare
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.fidelity import ImageFidelity, fidelity
from models.evaluation.resampling import Chance, chance, resampled_ap
from models.postprocess import detections
from models.reproduction.layer_clusters import Errors, encode, predicted_error, shared, tangents

UNIFORM = "one C for all"
BY_LAYER = "by layer"


@dataclass(frozen=True, slots=True)
class SharedClusters:
    """One way to share clusters among layers, on images that it was not found on.

    `clusters`: C of each layer; `mean`, their mean. `cost`: multiply-adds of attention over exact attention's.
    `predicted`: the error of the encoder's output if squares add up; `encoder_error`: what it was. Drift and IoU as in
    `Fidelity`. `ap` in 0..1; `lost`: against exact attention, in points of 100.
    """

    kind: str
    mean: int
    clusters: tuple[int, ...]
    cost: float
    predicted: float
    encoder_error: float
    edge_drift: float | None
    matched_iou: float | None
    ap: float
    lost: Chance


@dataclass(frozen=True, slots=True)
class Gain:
    """What sharing by layer gains over one C for all, at a mean C.

    `error`: the part of the encoder's output error that it takes away, mean over images, and `deviation`, the standard
    error of that mean (None for one image); `ap`, in points of 100, and its `chance` (both below 0 where it loses).
    """

    mean: int
    error: float
    deviation: float | None
    ap: float
    chance: Chance


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one choice did on all images."""

    detections: list[Detections]
    fidelity: list[ImageFidelity]


def compare_sharing(
    detector: Detector,
    samples: Iterable[Sample],
    errors: Errors,
    clusters: Sequence[int],
    means: Sequence[int],
    resamples: int,
) -> tuple[list[SharedClusters], list[Gain]]:
    """For every mean C: one C for all layers, then C by layer as `shared` finds it on `errors`, at the same cost.

    `errors` at `clusters` are those of `errors_by_layer`, of other images than `samples`, which are of one size.
    """
    layers = len(errors)
    pairs = [((C,) * layers, shared(errors, clusters, C * layers)) for C in means]
    choices = [choice for pair in pairs for choice in pair]
    seen, exact, truths, tokens = _look(detector, samples, choices)
    resampled = [resampled_ap(one.detections, truths, resamples) for one in seen]
    reference = resampled_ap(exact, truths, resamples)
    rows = []
    for place, (choice, one) in enumerate(zip(choices, seen, strict=True)):
        near = fidelity(one.fidelity)
        row = SharedClusters(
            kind=(UNIFORM, BY_LAYER)[place % 2],
            mean=means[place // 2],
            clusters=choice,
            cost=_cost(detector, tokens, choice),
            predicted=predicted_error(errors, clusters, choice),
            encoder_error=near.encoder_error,
            edge_drift=near.edge_drift,
            matched_iou=near.matched_iou,
            ap=coco_metrics(one.detections, truths).ap,
            lost=chance(reference, resampled[place]),
        )
        rows.append(row)
    gains = [
        _gain(C, rows[at : at + 2], seen[at : at + 2], resampled[at : at + 2])
        for at, C in zip(range(0, len(rows), 2), means, strict=True)
    ]
    return rows, gains


def _gain(
    mean: int, rows: Sequence[SharedClusters], seen: Sequence[_Seen], resampled: Sequence[Sequence[float]]
) -> Gain:
    """Of two choices at the same cost, the second over the first."""
    uniform, by_layer = rows
    error, deviation = _less_error(*seen)
    return Gain(mean, error, deviation, 100 * (by_layer.ap - uniform.ap), chance(resampled[1], resampled[0]))


@torch.inference_mode()
def _look(
    detector: Detector, samples: Iterable[Sample], choices: Sequence[Sequence[int]]
) -> tuple[list[_Seen], list[Detections], list[GroundTruth], int]:
    """Every choice's answers, those of exact attention, ground truth, and the last image's tokens."""
    seen = [_Seen([], []) for _ in choices]
    exact: list[Detections] = []
    truths: list[GroundTruth] = []
    tokens = 0
    for sample in samples:
        reference, *others = _answers(detector, sample, choices)
        exact.append(reference.detections)
        for one, other in zip(seen, others, strict=True):
            one.detections.append(other.detections)
            one.fidelity.append(compare(reference, other, *sample.image.shape[:2]))
        truths.append(sample.truth.of_classes(detector.labels))
        (tokens,) = reference.output.encoded.tokens.lengths
    if not truths:
        raise ValueError("there are no images to compare on")
    return seen, exact, truths, tokens


def _answers(detector: Detector, sample: Sample, choices: Sequence[Sequence[int]]) -> list[Answer]:
    """What the model says with exact attention, then with each choice of clusters."""
    image = detector.preprocess(sample.image)
    seen = detector.features(image)
    encoder = detector.detr.transformer.encoder
    exact: list[AttentionStrategy] = [ExactAttention()] * len(encoder.layers)
    outputs = [
        detector.detr.decode(seen, encode(encoder, seen.tokens, kind)) for kind in (exact, *map(tangents, choices))
    ]
    labels = detector.config.labels
    return [
        Answer(out, detections(out.logits[0].cpu(), out.boxes_cxcywh[0].cpu(), image, labels), 0, 0) for out in outputs
    ]


def _cost(detector: Detector, tokens: int, choice: Sequence[int]) -> float:
    shape = (tokens, detector.config.heads, detector.config.head_dim)
    exact = len(choice) * ExactAttention().multiply_adds(*shape)
    return sum(one.multiply_adds(*shape, 0) for one in tangents(choice)) / exact


def _less_error(uniform: _Seen, by_layer: _Seen) -> tuple[float, float | None]:
    """The part of the error that is taken away: mean over images, and its standard error."""
    pairs = zip(uniform.fidelity, by_layer.fidelity, strict=True)
    parts = [1 - other.encoder_error / max(one.encoder_error, 1e-12) for one, other in pairs]
    return fmean(parts), stdev(parts) / len(parts) ** 0.5 if len(parts) > 1 else None
