"""Average precision against what attention costs, and what is lost at a given cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from models.config import AttentionConfig
from models.data.samples import Sample
from models.detector import Detector
from models.evaluation.evaluate import EXACT, Evaluation, evaluate
from models.evaluation.resampling import RESAMPLES, chance
from models.reproduction.rivals import family

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class TradeoffRow:
    """One kind of attention on one set of images; means over the images, precisions in 0..1.

    `cost`: multiply-adds of attention over those of exact attention; `attention_gflops` counts them in giga.
    `clusters` and `cluster_ratio`: C and C/N, mean of layers and heads, 0 where nothing is clustered. `edge_drift` in
    pixels, `encoder_error` relative (both as in `Fidelity`; None for exact attention).

    `lost_interval` and `lost_error`: 95 % interval and standard error, in points of 100, of the AP lost against exact
    attention, by drawing the images anew in pairs (see `models.evaluation.resampling`). `lost_since`: the interval of
    what is lost against exact attention of the model before distillation, where there was one.
    """

    attention: str
    family: str
    seed: int
    tokens: float
    ap: float
    ap50: float
    ap75: float
    cost: float
    attention_gflops: float
    encoder_gflops: float
    clusters: float
    cluster_ratio: float
    edge_drift: float | None = None
    matched_iou: float | None = None
    found_again: float | None = None
    encoder_error: float | None = None
    lost_interval: Interval | None = None
    lost_error: float | None = None
    lost_since: Interval | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Means of one setting over its seeds; `lowest_ap` and `highest_ap` are the extremes.

    So are the ends of the intervals: what images leave to chance, not made smaller by several seeds.
    """

    attention: str
    family: str
    seeds: int
    cost: float
    cluster_ratio: float
    ap: float
    ap50: float
    lowest_ap: float
    highest_ap: float
    edge_drift: float | None
    matched_iou: float | None
    encoder_error: float | None
    lost_interval: Interval | None = None
    lost_error: float | None = None
    lost_since: Interval | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """At most `most_lost` points of AP (of 100) lost at `cost` of exact attention's multiply-adds."""

    claim: str
    families: tuple[str, ...]
    cost: float
    most_lost: float


PAPER: Final = Target(
    "ACT saves 40 % of attention", ("ACT, L = 32", "ACT, L = 24", "ACT, L = 20", "ACT, L = 16"), 0.6, 0.7
)
PAPER_DISTILLED: Final = replace(PAPER, claim="ACT saves 40 % of attention, after MTKD", most_lost=0.2)
TANGENT: Final = Target("tangent attention at a fifth", ("tangent", "tangent, 16 centres"), 0.2, 0.5)
TANGENT_DISTILLED: Final = replace(TANGENT, claim="tangent attention at a fifth, after MTKD", most_lost=0.1)


def tradeoff(
    detector: Detector,
    samples: Iterable[Sample],
    attentions: Sequence[AttentionConfig],
    before: Evaluation | None = None,
) -> list[TradeoffRow]:
    """Evaluate every kind of attention on the same images.

    `before`: exact attention of the model before distillation on these images, with `RESAMPLES` resamples.
    """
    exact, *found = evaluate(detector, samples, (EXACT, *attentions), RESAMPLES)
    return [_row(evaluation, exact, before) for evaluation in found]


def settings(rows: Sequence[TradeoffRow]) -> list[Setting]:
    """Rows that differ in the seed alone become one; in the order they came."""
    by_setting: dict[str, list[TradeoffRow]] = defaultdict(list)
    for row in rows:
        by_setting[str(replace(AttentionConfig.parse(row.attention), seed=0))].append(row)
    return [_setting(name, same) for name, same in by_setting.items()]


def lost(found: Sequence[Setting], name: str, cost: float, reference_ap: float | None = None) -> float | None:
    """Points of AP (of 100) that a family loses against exact attention, or `reference_ap`, at a cost.

    Between the two settings on either side of `cost`, linearly; where all settings are cheaper, what the dearest
    loses; None where all are dearer.
    """
    reference = next(one.ap for one in found if one.family == "exact") if reference_ap is None else reference_ap
    return _at_cost(found, name, cost, lambda one: 100 * (reference - one.ap))


def lost_interval(found: Sequence[Setting], name: str, cost: float, since: bool = False) -> Interval | None:
    """The 95 % interval of what `lost` says, its ends found as the loss is; `since`: against before distillation.

    None where the loss is, or where no interval was measured.
    """
    own = [(one, one.lost_since if since else one.lost_interval) for one in found if one.family == name]
    known = {one: ends for one, ends in own if ends is not None}
    if len(known) < len(own):
        return None
    low = _at_cost(list(known), name, cost, lambda one: known[one][0])
    high = _at_cost(list(known), name, cost, lambda one: known[one][1])
    return None if low is None or high is None else (low, high)


def _at_cost(found: Sequence[Setting], name: str, cost: float, value: Callable[[Setting], float]) -> float | None:
    own = sorted((setting for setting in found if setting.family == name), key=lambda setting: setting.cost)
    below = [setting for setting in own if setting.cost <= cost]
    above = [setting for setting in own if setting.cost > cost]
    if not below:
        return None
    near = value(below[-1])
    if above:
        share = (cost - below[-1].cost) / (above[0].cost - below[-1].cost)
        near += share * (value(above[0]) - near)
    return near


def _row(evaluation: Evaluation, exact: Evaluation, before: Evaluation | None) -> TradeoffRow:
    near = evaluation.fidelity
    lost_here = None if near is None else chance(exact.resampled_ap, evaluation.resampled_ap)
    since = None if before is None else chance(before.resampled_ap, evaluation.resampled_ap)
    return TradeoffRow(
        attention=str(evaluation.attention),
        family=family(evaluation.attention),
        seed=evaluation.attention.seed,
        tokens=evaluation.tokens,
        ap=evaluation.metrics.ap,
        ap50=evaluation.metrics.ap50,
        ap75=evaluation.metrics.ap75,
        cost=evaluation.gflops.attention / evaluation.exact_gflops.attention,
        attention_gflops=evaluation.gflops.attention,
        encoder_gflops=evaluation.gflops.encoder,
        clusters=fmean(evaluation.clusters or (0,)),
        cluster_ratio=fmean(evaluation.cluster_ratio or (0,)),
        edge_drift=near.edge_drift if near else None,
        matched_iou=near.matched_iou if near else None,
        found_again=near.found_again if near else None,
        encoder_error=near.encoder_error if near else None,
        lost_interval=(lost_here.low, lost_here.high) if lost_here else None,
        lost_error=lost_here.error if lost_here else None,
        lost_since=(since.low, since.high) if since else None,
    )


def _setting(name: str, rows: Sequence[TradeoffRow]) -> Setting:
    precisions = [row.ap for row in rows]
    return Setting(
        attention=name,
        family=rows[0].family,
        seeds=len(rows),
        cost=fmean(row.cost for row in rows),
        cluster_ratio=fmean(row.cluster_ratio for row in rows),
        ap=fmean(precisions),
        ap50=fmean(row.ap50 for row in rows),
        lowest_ap=min(precisions),
        highest_ap=max(precisions),
        edge_drift=_known_mean([row.edge_drift for row in rows]),
        matched_iou=_known_mean([row.matched_iou for row in rows]),
        encoder_error=_known_mean([row.encoder_error for row in rows]),
        lost_interval=_mean_interval([row.lost_interval for row in rows]),
        lost_error=_known_mean([row.lost_error for row in rows]),
        lost_since=_mean_interval([row.lost_since for row in rows]),
    )


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean_interval(intervals: Sequence[Interval | None]) -> Interval | None:
    known = [interval for interval in intervals if interval is not None]
    return (fmean(low for low, _ in known), fmean(high for _, high in known)) if known else None
