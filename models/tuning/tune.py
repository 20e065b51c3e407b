"""Choice of attention settings: by the collision probability, and by the drift of a model's boxes on given images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention.layer_inputs import AttentionInputs
from models.attention_config import AttentionConfig, Metric
from models.clustering.collision import collision_probability, widest_buckets
from models.detector import Detector
from models.detr.multiply_adds import Gflops, exact_gflops
from models.evaluation.attention_inputs import attention_inputs
from models.evaluation.attention_runs import compare, run_attentions
from models.preprocess import PreparedImage
from models.tuning.bucket_width import bucket_widths, hashed_queries
from models.tuning.collision_rates import collision_rates

TunedMode = Literal["act", "tangent", "merge"]
Statistic = Literal["mean", "p95"]

ROUNDS: Final = (16, 20, 24, 32)
RATIOS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CLUSTERS: Final = (4, 8, 16, 32, 64, 128, 256)
MERGE_RATIOS: Final = (0.75, 0.625, 0.5, 0.375, 0.25, 0.125)
CALIBRATION_IMAGES: Final = 2
PAIRS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One attention setting measured on images; means over them.

    `cluster_ratio`: C/N, mean of layers and heads; with merging the share of the tokens that is left. `attention_saved`
    and `encoder_saved`: share of the multiply-adds; below 0 where the setting costs more than exact attention.
    `drift_mean` and `drift_p95`: distance between the edges of a box and those of exact attention's, in pixels of the
    original image, mean and 95th percentile over the boxes that exact attention is confident of.
    `predicted_collisions`: p(distance)^L; `measured_collisions`: the share of query pairs at least that far apart that
    are in one bucket. Both are None without a distance.
    """

    attention: AttentionConfig
    cluster_ratio: float
    attention_saved: float
    encoder_saved: float
    drift_mean: float
    drift_p95: float
    predicted_collisions: float | None = None
    measured_collisions: float | None = None

    def drift(self, statistic: Statistic) -> float:
        """The named drift in pixels."""
        return self.drift_mean if statistic == "mean" else self.drift_p95


def bounded_settings(distance: float, confidence: float, metric: Metric = "query") -> Iterator[AttentionConfig]:
    """Yield, for every L, the widest r that keeps queries `distance` apart in different buckets with `confidence`.

    r is rounded down to three digits, so that the bound still holds. Raises ValueError as `widest_buckets` does.
    """
    for L in ROUNDS:
        yield AttentionConfig.act(L, _three_digits_down(widest_buckets(L, distance, confidence)), metric=metric)


def measured_settings(
    detector: Detector, images: Sequence[PreparedImage], mode: TunedMode, metric: Metric
) -> Iterator[AttentionConfig]:
    """Yield settings from the cheapest to nearly exact: ACT's by the C/N that they lead to on the first images."""
    if mode == "tangent":
        yield from (AttentionConfig.tangent(C, metric=metric) for C in CLUSTERS)
        return
    if mode == "merge":
        yield from map(AttentionConfig.merge, MERGE_RATIOS)
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
    exact, settings = AttentionConfig.exact(), tuple(dict.fromkeys(attentions))
    drift: dict[AttentionConfig, list[NDArray[np.floating]]] = {setting: [] for setting in settings}
    costs: dict[AttentionConfig, list[Gflops]] = {setting: [] for setting in settings}
    ratios: dict[AttentionConfig, list[float]] = {setting: [] for setting in settings}
    for image in images:
        runs = run_attentions(detector, image, (exact, *settings))
        tokens = detector.tokens(image)
        for setting in settings:
            run = runs[setting]
            nearness = compare(runs[exact], run, image.original_height, image.original_width)
            drift[setting].append(nearness.edge_drift)
            (merged,) = run.output.encoded.merged_lengths or (None,)
            by_layer = [sum(heads) for heads in run.clusters] or [0] * detector.config.encoder_layers
            costs[setting].append(detector.network.gflops(setting, tokens, by_layer, None, merged))
            attending = fmean(by_layer) / detector.config.heads if merged is None else merged
            ratios[setting].append(attending / tokens)
        advance()
    exact_cost = Gflops.mean([exact_gflops(detector.config, detector.tokens(image)) for image in images])
    collisions = _collisions(detector, images[0], settings, distance)
    candidates = [
        _candidate(one, drift[one], Gflops.mean(costs[one]), exact_cost, fmean(ratios[one]), *collisions[one])
        for one in settings
    ]
    return sorted(candidates, key=lambda candidate: -candidate.attention_saved)


def recommended(candidates: Sequence[Candidate], max_drift: float | None, statistic: Statistic) -> Candidate | None:
    """Return the candidate that saves most, of those that save at all and drift at most that far; None without one."""
    return max(
        (
            candidate
            for candidate in candidates
            if candidate.attention_saved > 0 and (max_drift is None or candidate.drift(statistic) <= max_drift)
        ),
        key=lambda candidate: candidate.attention_saved,
        default=None,
    )


def _candidate(
    setting: AttentionConfig,
    drift: Sequence[NDArray[np.floating]],
    cost: Gflops,
    exact_cost: Gflops,
    ratio: float,
    predicted: float | None,
    measured: float | None,
) -> Candidate:
    pixels = np.concatenate(drift)
    if not len(pixels):
        raise ValueError("exact attention is confident of no box in these images: no drift can be measured")
    return Candidate(
        setting,
        ratio,
        1 - cost.attention / exact_cost.attention,
        1 - cost.encoder / exact_cost.encoder,
        float(pixels.mean()),
        float(np.quantile(pixels, 0.95)),
        predicted,
        measured,
    )


def _collisions(
    detector: Detector, image: PreparedImage, settings: Sequence[AttentionConfig], distance: float | None
) -> dict[AttentionConfig, tuple[float | None, float | None]]:
    """Predicted and measured collisions of every setting, on one image."""
    if distance is None:
        return dict.fromkeys(settings, (None, None))
    layers = _inputs(detector, image)
    return {
        setting: (
            collision_probability(distance, setting.L, setting.r),
            _measured_collisions(layers, setting, distance),
        )
        for setting in settings
    }


def _measured_collisions(layers: Sequence[AttentionInputs], setting: AttentionConfig, distance: float) -> float | None:
    """Share of drawn pairs of a head's queries at least `distance` apart that are in one bucket; None: no such pair."""
    generator = torch.Generator().manual_seed(0)
    far = together = 0.0
    each = max(1, PAIRS // (len(layers) * layers[0].heads))
    for layer in layers:
        for queries in hashed_queries(layer, setting.metric).cpu():
            first, second = queries[torch.randint(len(queries), (2, each), generator=generator)]
            apart = (first - second).norm(dim=-1) >= distance
            far += float(apart.sum())
            rates = collision_rates(first[apart], second[apart], setting.L, setting.r, (setting.seed,))
            together += float(rates.sum())
    return together / far if far else None


def _inputs(detector: Detector, image: PreparedImage) -> list[AttentionInputs]:
    return attention_inputs(detector, detector.encoder_tokens(image))


def _three_digits_down(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / unit) * unit:.3g}")
