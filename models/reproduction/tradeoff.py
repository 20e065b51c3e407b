"""Trade-off: average precision against the cost of attention, and what is lost where the paper makes its claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final, Literal, Self, get_args

from matplotlib.figure import Figure

from models.data.samples import Sample, Samples
from models.detector import Detector
from models.evaluation.evaluate import EXACT, Evaluation, evaluate
from models.evaluation.resampling import RESAMPLES, chance
from models.evaluation.weights_digest import weights_digest
from models.reproduction.claim import Measured, Plan, Progress, digits, markdown
from models.reproduction.inputs import calibration_layers, described, images_for
from models.reproduction.sweep import SweepGrid, attention_settings
from models.reproduction.tradeoff_plot import BEYOND, PAPER, over_attention, over_encoder
from models.reproduction.tradeoff_settings import Interval, Setting, lost_at, settings_of

Variant = Literal["", "unrefined", "distilled"]

LARGE_SIDE: Final = 32
"""From this many tokens along the shortest side, fewer images and settings are evaluated."""
LARGE_SHARE: Final = 0.8
"""The share of the images that are evaluated then."""


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
    """The claim that approximate attention saves much and loses little AP, for the model of this name.

    Variants: the model itself, the model without box refinement, and the model after distillation.
    """

    model: str
    variant: Variant = ""

    @classmethod
    def of(cls, measured: Measured) -> Self:
        """Return the trade-off whose results these are. Raises ValueError where it is none of its model."""
        own = (cls(measured["model"]["name"], variant) for variant in get_args(Variant))
        for one in own:
            if one.name == measured["claim"]:
                return one
        raise ValueError(f"{measured['claim']} is no trade-off of {measured['model']['name']}")

    @property
    def name(self) -> str:
        """Name of the JSON and of the figure: tradeoff-pages-small-unrefined, ..."""
        return "-".join(filter(None, ("tradeoff", self.model.replace("/", "-"), self.variant)))

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return images, grid, and what sets the variant apart."""
        model = self._model(detector, plan)
        samples, grid = _effort(model, plan)
        settings = {**described(model, samples), "images": len(samples), "grid": asdict(grid), "resamples": RESAMPLES}
        if model.config.box_refinement is not None:
            settings["box_refinement"] = True
        if self.variant == "distilled":
            settings["distilled_sha256"] = weights_digest(model)
        return settings

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> dict[str, Any]:
        """Evaluate every setting on the same images; `before_ap` is of exact attention before distillation."""
        model = self._model(detector, plan)
        samples, grid = _effort(model, plan)
        attentions = attention_settings(calibration_layers(model, samples), grid)
        before = None
        if self.variant == "distilled":
            (before,) = evaluate(detector, samples, (EXACT,), RESAMPLES)
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
        """Return AP and edge drift over attention's cost, and over the encoder's where tokens were merged."""
        settings, images = settings_of(measured["results"]["rows"]), measured["settings"]["images"]
        figures = {self.name: over_attention(settings, images)}
        if any(one.family == "merging" for one in settings):
            figures[f"{self.name}-encoder"] = over_encoder(settings, images)
        return figures

    def _model(self, detector: Detector, plan: Plan) -> Detector:
        if self.variant == "unrefined":
            return detector.without_box_refinement()
        if self.variant == "distilled":
            if plan.distilled is None:
                raise ValueError(f"{self.name} needs the distilled model")
            return plan.distilled
        return detector

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


def _effort(model: Detector, plan: Plan) -> tuple[Samples, SweepGrid]:
    """Return images and grid: exact attention's time grows with the square of the number of tokens."""
    pages, grid = plan.pages, SweepGrid(seeds=plan.seeds)
    if plan.quick:
        grid = grid.quick()
    elif model.config.shortest_side >= LARGE_SIDE * model.config.backbone.stride:
        pages, grid = max(1, round(LARGE_SHARE * pages)), grid.large()
    return images_for(plan, model, pages), grid


def _row(evaluation: Evaluation, exact: Evaluation, before: Evaluation | None) -> dict[str, Any]:
    """Return one setting's results; means over the images, precisions in 0..1.

    `cost`: multiply-adds of attention over those of exact attention; `attention_gflops` counts them in giga, and
    `encoder_gflops` those of the whole encoder. `clusters` and `cluster_ratio`: C and C/N, mean of layers and heads, 0
    where nothing is clustered. `edge_drift` in pixels, `encoder_error` relative (both as in `Fidelity`; None for exact
    attention). `lost_interval` and `lost_error`: 95 % interval and standard error, in points of 100, of the AP lost
    against exact attention (see `models.evaluation.resampling`). `lost_since`: the interval against exact attention
    before distillation.
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
                f"{one['encoder_cost']:.1%}",
                digits(one["cluster_ratio"] or None, 2),
                f"{100 * one['ap']:.1f}",
                _with_interval(100 * (settings[0]["ap"] - one["ap"]), one["lost_interval"]),
                f"{max(precisions) - min(precisions):.1f}" if len(precisions) > 1 else "-",
                f"{100 * one['ap50']:.1f}",
                digits(one["edge_drift"], 2),
                digits(one["matched_iou"], 3),
                digits(one["encoder_error"], 3),
            ]
        )
    columns = ["attention", "seeds", "cost", "encoder's cost", "C/N", "AP", "lost [95 %]", "spread", "AP50"]
    return markdown([*columns, "edge drift, px", "matched IoU", "encoder error"], cells)


def _with_interval(value: float, interval: Interval | None) -> str:
    """Write a value and its 95 % interval: 0.1 [-0.3, 0.6]."""
    return f"{value:.1f}" if interval is None else f"{value:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def _counted(samples: Iterable[Sample], count: int, progress: Progress) -> Iterator[Sample]:
    """Yield the same samples, and report after each."""
    for done, sample in enumerate(samples, 1):
        yield sample
        progress(done, count)
