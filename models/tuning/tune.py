"""Which setting of approximate attention to run: from the error bound, and from what it does to a model's boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention.factory import make_attention
from models.clustering.collision import collision_probability, widest_buckets
from models.config import AttentionConfig, Metric
from models.detector import Detector
from models.detr.multiply_adds import Gflops, exact_gflops, gflops
from models.evaluation.attention_inputs import AttentionInputs, attention_inputs
from models.evaluation.attention_runs import compare, side_by_side
from models.preprocess import PreparedImage
from models.tuning.bucket_width import bucket_widths, hashed_queries
from models.tuning.collision_rates import collision_rates

TunedMode = Literal["act", "tangent"]
Statistic = Literal["mean", "p95"]

ROUNDS: Final = (16, 20, 24, 32)
RATIOS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CLUSTERS: Final = (4, 8, 16, 32, 64, 128, 256)
CALIBRATION_IMAGES: Final = 2
PAIRS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting measured on images; means over them.

    `drift_mean` and `drift_p95`: how far the edges of a box moved, in pixels of the original image, mean and 95th
    percentile over the boxes that exact attention is confident of. `attention_saved` and `encoder_saved`: share of
    the multiply-adds; below 0 where the setting costs more than exact attention. `cluster_ratio`: C/N, mean of
    layers and heads. `predicted_sharing`: p(distance)^L, and `measured_sharing`: the share of query pairs at least
    that far apart that are in one bucket; None without a distance.
    """

    attention: AttentionConfig
    cluster_ratio: float
    attention_saved: float
    encoder_saved: float
    drift_mean: float
    drift_p95: float
    predicted_sharing: float | None = None
    measured_sharing: float | None = None

    def drift(self, statistic: Statistic) -> float:
        """The named drift in pixels."""
        return self.drift_mean if statistic == "mean" else self.drift_p95


def bounded_settings(distance: float, confidence: float, metric: Metric = "query") -> Iterator[AttentionConfig]:
    """For every L the widest buckets that keep queries `distance` apart from sharing one, but 1 - `confidence`.

    r is cut to three digits, downwards, so that the bound still holds. Raises ValueError as `widest_buckets` does.
    """
    for L in ROUNDS:
        yield AttentionConfig.act(L, _three_digits_down(widest_buckets(L, distance, confidence)), metric=metric)


def measured_settings(
    detector: Detector, images: Sequence[PreparedImage], mode: TunedMode, metric: Metric
) -> Iterator[AttentionConfig]:
    """Settings from the cheapest to nearly exact: ACT's by the C/N they lead to on the first images."""
    if mode == "tangent":
        yield from (AttentionConfig.tangent(C, metric=metric) for C in CLUSTERS)
        return
    layers = [layer for image in images[:CALIBRATION_IMAGES] for layer in _inputs(detector, image)]
    for L in ROUNDS:
        yield from (AttentionConfig.act(L, r, metric=metric) for r in bucket_widths(layers, L, RATIOS, metric))


def tune(
    detector: Detector,
    images: Sequence[PreparedImage],
    attentions: Iterable[AttentionConfig],
    distance: float | None = None,
    advance: Callable[[], object] = lambda: None,
) -> list[Candidate]:
    """Measure settings on images, cheapest first; `distance` as in `bounded_settings`; `advance` after each image.

    Raises ValueError for no images, or where exact attention is confident of no box in any of them.
    """
    if not images:
        raise ValueError("there are no images to tune on")
    kinds = tuple(dict.fromkeys(attentions))
    drift: dict[AttentionConfig, list[NDArray[np.floating]]] = {kind: [] for kind in kinds}
    costs: dict[AttentionConfig, list[Gflops]] = {kind: [] for kind in kinds}
    ratios: dict[AttentionConfig, list[float]] = {kind: [] for kind in kinds}
    for image in images:
        answers = side_by_side(detector, image, (AttentionConfig.exact(), *kinds))
        exact = answers.pop(AttentionConfig.exact())
        tokens = detector.tokens(image)
        for kind, answer in answers.items():
            nearness = compare(exact, answer, image.original_height, image.original_width)
            drift[kind].append(nearness.edge_drift)
            sums = [sum(heads) for heads in answer.clusters]
            costs[kind].append(gflops(detector.config, make_attention(kind), tokens, sums))
            ratios[kind].append(fmean(sums) / detector.config.heads / tokens)
        advance()
    whole = Gflops.mean([exact_gflops(detector.config, detector.tokens(image)) for image in images])
    sharing = _sharing(detector, images[0], kinds, distance)
    found = [
        _candidate(kind, drift[kind], Gflops.mean(costs[kind]), whole, fmean(ratios[kind]), *sharing[kind])
        for kind in kinds
    ]
    return sorted(found, key=lambda one: -one.attention_saved)


def recommended(found: Sequence[Candidate], max_drift: float | None, statistic: Statistic) -> Candidate | None:
    """What saves most among those that save at all and drift no further; None where there is none."""
    fit = [one for one in found if one.attention_saved > 0]
    if max_drift is not None:
        fit = [one for one in fit if one.drift(statistic) <= max_drift]
    return max(fit, key=lambda one: one.attention_saved, default=None)


def _candidate(
    kind: AttentionConfig,
    drift: Sequence[NDArray[np.floating]],
    cost: Gflops,
    exact: Gflops,
    ratio: float,
    predicted: float | None,
    measured: float | None,
) -> Candidate:
    pixels = np.concatenate(drift)
    if not len(pixels):
        raise ValueError("exact attention is confident of no box in these images: no drift can be measured")
    return Candidate(
        kind,
        ratio,
        1 - cost.attention / exact.attention,
        1 - cost.encoder / exact.encoder,
        float(pixels.mean()),
        float(np.quantile(pixels, 0.95)),
        predicted,
        measured,
    )


def _sharing(
    detector: Detector, image: PreparedImage, kinds: Sequence[AttentionConfig], distance: float | None
) -> dict[AttentionConfig, tuple[float | None, float | None]]:
    """Predicted and measured sharing of every setting, on one image."""
    if distance is None:
        return dict.fromkeys(kinds, (None, None))
    layers = _inputs(detector, image)
    return {
        kind: (collision_probability(distance, kind.L, kind.r), _measured_sharing(layers, kind, distance))
        for kind in kinds
    }


def _measured_sharing(layers: Sequence[AttentionInputs], kind: AttentionConfig, distance: float) -> float | None:
    """Share of drawn pairs of a head's queries at least `distance` apart that are in one bucket; None: no such pair."""
    generator = torch.Generator().manual_seed(0)
    far = together = 0.0
    each = max(1, PAIRS // (len(layers) * layers[0].heads))
    for layer in layers:
        for own in hashed_queries(layer, kind.metric).cpu():
            first, second = own[torch.randint(len(own), (2, each), generator=generator)]
            apart = (first - second).norm(dim=-1) >= distance
            far += float(apart.sum())
            together += float(collision_rates(first[apart], second[apart], kind.L, kind.r, (kind.seed,)).sum())
    return together / far if far else None


@torch.inference_mode()
def _inputs(detector: Detector, image: PreparedImage) -> list[AttentionInputs]:
    return attention_inputs(detector, detector.encoder_tokens(image))


def _three_digits_down(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / unit) * unit:.3g}")
