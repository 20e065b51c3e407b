"""Trade-off: average precision against the cost of attention, and what is lost where the paper makes its claims."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any, Final, Literal, Self

import numpy as np
from matplotlib.figure import Figure

from models.attention_config import AttentionConfig
from models.data.samples import Sample, Samples
from models.detector import Detector
from models.evaluation.evaluate import EXACT, Evaluation, evaluate
from models.evaluation.resampling import RESAMPLES, chance
from models.evaluation.weights_digest import weights_digest
from models.reproduction.claim import Measured, Plan, Progress, Resolution, digits, markdown
from models.reproduction.inputs import calibration_layers, described, images_for
from models.reproduction.style import colour, label_lines, line, log_axis, panels
from models.reproduction.sweep import SweepGrid, attention_settings, family

Variant = Literal["", "unrefined", "distilled"]
Interval = tuple[float, float]

LARGE: Final = 1.5
"""From this many times the tokens on either axis, fewer images and settings are evaluated."""
MAX_DRAWN_COST: Final = 2.0
"""More expensive settings, over exact attention, are only in the tables."""
PAPER: Final = ("ACT, L = 32", "ACT, L = 24", "ACT, L = 20", "ACT, L = 16", "K-means")
BEYOND: Final = ("ACT, L = 16", "ACT, key-aware", "K-means, key-aware", "tangent", "tangent, 16 expansion points")


@dataclass(frozen=True, slots=True)
class Target:
    """At most `max_lost` points of AP (of 100) lost at `cost` of exact attention's multiply-adds."""

    claim: str
    families: tuple[str, ...]
    cost: float
    max_lost: float

    def verdict(self, lost: float | None, interval: Interval | None) -> str:
        """Say whether the target was met, and whether other images might have said otherwise."""
        if lost is None:
            return "every setting costs more"
        met = lost <= self.max_lost
        sure = interval is None or (interval[1] <= self.max_lost if met else interval[0] > self.max_lost)
        return ("met" if met else "missed") + ("" if sure else ", within chance")


TARGETS: Final = (
    Target("ACT saves 40 % of attention", PAPER[:4], 0.6, 0.7),
    Target("tangent attention at a fifth", BEYOND[3:], 0.2, 0.5),
)
DISTILLED_TARGETS: Final = (
    replace(TARGETS[0], claim=f"{TARGETS[0].claim}, after MTKD", max_lost=0.2),
    replace(TARGETS[1], claim=f"{TARGETS[1].claim}, after MTKD", max_lost=0.1),
)


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """The claim that approximate attention saves much and loses little AP, at one size.

    Variants: the model itself, the model without box refinement, and the model after distillation.
    """

    resolution: Resolution
    variant: Variant = ""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name: tradeoff-352, tradeoff-352-dense-distilled, ... Raises ValueError."""
        size = name.removeprefix("tradeoff-")
        for variant in ("unrefined", "distilled"):
            if size.endswith(f"-{variant}"):
                return cls(Resolution.parse(size.removesuffix(f"-{variant}")), variant)
        return cls(Resolution.parse(size))

    @property
    def name(self) -> str:
        """Name of the JSON and of the figure."""
        return "-".join(filter(None, ("tradeoff", str(self.resolution), self.variant)))

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return images, grid, and what sets the variant apart."""
        model = self._model(detector, plan)
        samples, grid = self._effort(model, plan)
        settings = {**described(model, samples), "images": len(samples), "grid": asdict(grid), "resamples": RESAMPLES}
        if self.resolution.dense:
            settings["dense"] = True
        if model.config.box_refinement is not None:
            settings["box_refinement"] = True
        if self.variant == "distilled":
            settings["distilled_sha256"] = weights_digest(model)
        return settings

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> dict[str, Any]:
        """Evaluate every setting on the same images; `before_ap` is of exact attention before distillation."""
        model = self._model(detector, plan)
        samples, grid = self._effort(model, plan)
        attentions = attention_settings(calibration_layers(model, samples), grid)
        before = None
        if self.variant == "distilled":
            (before,) = evaluate(self.resolution.applied_to(detector), samples, (EXACT,), RESAMPLES)
        evaluations = evaluate(model, _counted(samples, len(samples), progress), attentions, RESAMPLES)
        rows = [_row(evaluation, evaluations[0], before) for evaluation in evaluations]
        return {"rows": rows} if before is None else {"before_ap": before.metrics.ap, "rows": rows}

    def tables(self, measured: Measured) -> list[str]:
        """Return the verdict on every target, then every setting."""
        rows = measured["results"]["rows"]
        images, model = measured["settings"]["images"], measured["model"]["name"]
        heading = f"## {self.name}: N = {rows[0]['tokens']:.0f}, {images} images, model {model}"
        settings = settings_of(rows)
        return [heading, self._target_table(settings, measured["results"].get("before_ap")), _setting_table(settings)]

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return AP and edge drift against cost: the paper's attention on the left, the others on the right."""
        settings = settings_of(measured["results"]["rows"])
        exact = settings[0]
        figure, axes = panels(2, 2, 9.6, 6.4, sharex=True, sharey="row")
        drawn = []
        for plot, (field, names) in zip(axes, product(("ap", "edge_drift"), (PAPER, BEYOND)), strict=True):
            if field == "ap":
                plot.axhline(100 * exact["ap"], color=colour("exact"), lw=0.8)
            lines = {name: points for name in names if (points := _points(settings, name, field))}
            for name, points in lines.items():
                line(plot, name, points, faint=names is BEYOND and name in PAPER)
            drawn.append(lines)
        for plot in axes[2:]:
            log_axis(plot, "x", percent=True)
            log_axis(plot, "y")
            plot.set_xlabel("multiply-adds of attention, of exact attention's")
        images = measured["settings"]["images"]
        axes[0].set_title(f"AP (exact: {100 * exact['ap']:.1f}); N = {exact['tokens']:.0f}, {images} images")
        axes[1].set_title("the same, beyond the paper")
        axes[2].set_title("how far a box's edges move, pixels")
        for plot, lines in zip(axes, drawn, strict=True):
            label_lines(plot, [(name, *points[-1], colour(name)) for name, points in lines.items()])
        return {self.name: figure}

    def _model(self, detector: Detector, plan: Plan) -> Detector:
        if self.variant == "distilled":
            if plan.distilled is None:
                raise ValueError(f"{self.name} needs the distilled model")
            detector = plan.distilled
        elif self.variant == "unrefined":
            detector = detector.without_box_refinement()
        return self.resolution.applied_to(detector)

    def _effort(self, model: Detector, plan: Plan) -> tuple[Samples, SweepGrid]:
        """Return images and grid: time grows with the square of the number of tokens."""
        pages, grid = plan.pages, SweepGrid(seeds=plan.seeds)
        scale = self.resolution.shortest_side / plan.own_size * (2 if self.resolution.dense else 1)
        if plan.quick:
            grid = grid.quick()
        elif scale >= LARGE:
            pages, grid = max(1, min(pages, round(pages * 1.2 / scale**2))), grid.large()
        if self.variant == "distilled" and self.resolution.dense and not plan.quick:
            grid = grid.distilled()
        return images_for(plan, model, pages), grid

    def _target_table(self, settings: Sequence[Setting], before_ap: float | None) -> str:
        families = {one.family for one in settings}
        cells = []
        for target in DISTILLED_TARGETS if self.variant == "distilled" else TARGETS:
            for name in filter(families.__contains__, target.families):
                lost, interval = lost_at(settings, name, target.cost, before_ap)
                verdict = target.verdict(lost, interval)
                shown = "-" if lost is None else _with_interval(lost, interval)
                cells.append([target.claim, name, f"{target.cost:.0%}", f"{target.max_lost:g}", shown, verdict])
        columns = ["target", "attention", "at cost", "AP lost, at most", "AP lost, measured [95 %]", ""]
        return markdown(columns, cells)


@dataclass(frozen=True, slots=True)
class Setting:
    """Rows that differ only in the seed."""

    attention: str
    rows: tuple[Mapping[str, Any], ...]

    @property
    def family(self) -> str:
        """Return the name of its line in a plot."""
        return family(self.attention)

    def __getitem__(self, field: str) -> Any:
        """Return the mean of a number, or of the ends of an interval, over the seeds; None where there is none."""
        values = [row[field] for row in self.rows if row[field] is not None]
        return np.mean(values, axis=0).tolist() if values else None


def settings_of(rows: Iterable[Mapping[str, Any]]) -> list[Setting]:
    """Group the rows that differ only in the seed, in the order of their first; exact attention comes first."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[str(replace(AttentionConfig.parse(row["attention"]), seed=0))].append(row)
    return [Setting(attention, tuple(group)) for attention, group in groups.items()]


def lost_at(
    settings: Sequence[Setting], name: str, cost: float, before_ap: float | None = None
) -> tuple[float | None, Interval | None]:
    """Return the points of AP (of 100) that a family loses at a cost, and the 95 % interval.

    Against exact attention, which is first in `settings`, or against `before_ap`, that of exact attention before
    distillation. Linear between the two settings on either side of `cost`; where all cost less, that of the most
    expensive one. The loss is None where all cost more, the interval also where none was measured.
    """
    own = sorted((one for one in settings if one.family == name), key=lambda one: one["cost"])
    costs = [one["cost"] for one in own]
    if cost < costs[0]:
        return None, None
    reference = settings[0]["ap"] if before_ap is None else before_ap
    lost = float(np.interp(cost, costs, [100 * (reference - one["ap"]) for one in own]))
    intervals = [one["lost_interval" if before_ap is None else "lost_since"] for one in own]
    if None in intervals:
        return lost, None
    low, high = (float(np.interp(cost, costs, ends)) for ends in zip(*intervals, strict=True))
    return lost, (low, high)


def _row(evaluation: Evaluation, exact: Evaluation, before: Evaluation | None) -> dict[str, Any]:
    """Return one setting's results; means over the images, precisions in 0..1.

    `cost`: multiply-adds of attention over those of exact attention; `attention_gflops` counts them in giga.
    `clusters` and `cluster_ratio`: C and C/N, mean of layers and heads, 0 where nothing is clustered. `edge_drift` in
    pixels, `encoder_error` relative (both as in `Fidelity`; None for exact attention). `lost_interval` and
    `lost_error`: 95 % interval and standard error, in points of 100, of the AP lost against exact attention (see
    `models.evaluation.resampling`). `lost_since`: the interval against exact attention before distillation.
    """
    fidelity = evaluation.fidelity
    lost = None if fidelity is None else chance(exact.resampled_ap, evaluation.resampled_ap)
    since = None if before is None else chance(before.resampled_ap, evaluation.resampled_ap)
    return {
        "attention": str(evaluation.attention),
        "tokens": evaluation.tokens,
        "ap": evaluation.metrics.ap,
        "ap50": evaluation.metrics.ap50,
        "ap75": evaluation.metrics.ap75,
        "cost": evaluation.gflops.attention / evaluation.exact_gflops.attention,
        "attention_gflops": evaluation.gflops.attention,
        "encoder_gflops": evaluation.gflops.encoder,
        "clusters": fmean(evaluation.clusters or (0.0,)),
        "cluster_ratio": fmean(evaluation.cluster_ratio or (0.0,)),
        "edge_drift": fidelity and fidelity.edge_drift,
        "matched_iou": fidelity and fidelity.matched_iou,
        "match_rate": fidelity and fidelity.match_rate,
        "encoder_error": fidelity and fidelity.encoder_error,
        "lost_interval": lost and (lost.low, lost.high),
        "lost_error": lost and lost.error,
        "lost_since": since and (since.low, since.high),
    }


def _setting_table(settings: Sequence[Setting]) -> str:
    cells = []
    for one in settings:
        precisions = [100 * row["ap"] for row in one.rows]
        cells.append(
            [
                one.attention,
                str(len(one.rows)),
                f"{one['cost']:.1%}",
                digits(one["cluster_ratio"], 2) if one.family != "exact" else "-",
                f"{100 * one['ap']:.1f}",
                _with_interval(100 * (settings[0]["ap"] - one["ap"]), one["lost_interval"]),
                f"{max(precisions) - min(precisions):.1f}" if len(precisions) > 1 else "-",
                f"{100 * one['ap50']:.1f}",
                digits(one["edge_drift"], 2),
                digits(one["matched_iou"], 3),
                digits(one["encoder_error"], 3),
            ]
        )
    columns = ["attention", "seeds", "cost", "C/N", "AP", "lost [95 %]", "spread", "AP50"]
    return markdown([*columns, "edge drift, px", "matched IoU", "encoder error"], cells)


def _points(settings: Sequence[Setting], name: str, field: str) -> list[tuple[float, float]]:
    scale = 100 if field == "ap" else 1
    own = [one for one in settings if one.family == name and one["cost"] <= MAX_DRAWN_COST]
    return sorted((one["cost"], scale * one[field]) for one in own if one[field] is not None)


def _with_interval(value: float, interval: Interval | None) -> str:
    """Write a value and its 95 % interval: 0.1 [-0.3, 0.6]."""
    return f"{value:.1f}" if interval is None else f"{value:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def _counted(samples: Iterable[Sample], count: int, progress: Progress) -> Iterator[Sample]:
    """Yield the same samples, and report after each."""
    for done, sample in enumerate(samples, 1):
        yield sample
        progress(done, count)
