"""Markdown tables of a reproduction, made from its JSON alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from models.reproduction.encoder_tables import layer_cluster_tables, published_tables, with_interval
from models.reproduction.reproduce import part_names, read_part, write_whole
from models.reproduction.reproduction_plots import GROWTH, clusters_needed, tradeoff_settings
from models.reproduction.tradeoff import (
    PAPER,
    PAPER_DISTILLED,
    TANGENT,
    TANGENT_DISTILLED,
    Interval,
    Setting,
    Target,
    lost,
    lost_interval,
)

FEW_ERRORS: Final = (0.2, 0.1, 0.05)


def write_tables(output: Path) -> Path:
    """Write `tables.md` into the folder that holds the JSON."""
    blocks = [*_tradeoffs(output), *_growth(output), *_times(output), *_diversity(output)]
    for heading, tables in (*layer_cluster_tables(output), *published_tables(output)):
        blocks += [f"## {heading}", *(markdown(*table) for table in tables)]
    file = output / "tables.md"
    write_whole(file, "\n\n".join(["<!-- made by `act-detr reproduce --plots-only` -->", *blocks]) + "\n")
    return file


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets(
    part: Any, original_exact_ap: float | None = None
) -> list[tuple[str, Target, float | None, Interval | None]]:
    """(family, target, points of AP lost, its 95 % interval) of a trade-off.

    The loss is None where the family is dearer everywhere, the interval also where none was measured.
    `original_exact_ap`: for a distilled model, the AP of exact attention before distillation, which the paper
    compares with.
    """
    distilled = part["part"].endswith("-distilled")
    found = tradeoff_settings(part)
    families = {one.family for one in found}
    chosen = (PAPER_DISTILLED, TANGENT_DISTILLED) if distilled else (PAPER, TANGENT)
    since = original_exact_ap is not None
    return [
        (
            name,
            target,
            lost(found, name, target.cost, original_exact_ap),
            lost_interval(found, name, target.cost, since),
        )
        for target in chosen
        for name in target.families
        if name in families
    ]


def _tradeoffs(output: Path) -> Iterator[str]:
    for name in part_names(output, "tradeoff-"):
        part = read_part(output, name)
        found = tradeoff_settings(part)
        tokens = part["results"]["rows"][0]["tokens"]
        yield f"## {name}: N = {tokens:.0f}, {part['settings']['images']} images, model {part['model']['name']}"
        yield _target_table(part, _before(output, part))
        yield _setting_table(found)


def _before(output: Path, part: Any) -> float | None:
    """AP of exact attention before distillation; None for a model that was not distilled."""
    if not part["part"].endswith("-distilled"):
        return None
    if "before_ap" in part["results"]:
        return float(part["results"]["before_ap"])
    original = read_part(output, part["part"].removesuffix("-distilled"))
    return _exact_ap(tradeoff_settings(original)) if original else None


def verdict(target: Target, points: float | None, interval: Interval | None) -> str:
    """Whether a target was met, and whether other images might have said otherwise."""
    if points is None:
        return "dearer at every setting"
    met = points <= target.most_lost
    sure = interval is None or (interval[1] <= target.most_lost if met else interval[0] > target.most_lost)
    return ("met" if met else "missed") + ("" if sure else ", within chance")


def _target_table(part: Any, original_ap: float | None) -> str:
    rows = []
    for family, target, points, interval in targets(part, original_ap):
        lost_points = "-" if points is None else with_interval(points, interval)
        judged = verdict(target, points, interval)
        rows.append([target.claim, family, f"{target.cost:.0%}", f"{target.most_lost:g}", lost_points, judged])
    return markdown(["target", "attention", "at cost", "AP lost, at most", "AP lost, measured [95 %]", ""], rows)


def _setting_table(found: Sequence[Setting]) -> str:
    exact = _exact_ap(found)
    rows = [
        [
            one.attention,
            str(one.seeds),
            f"{one.cost:.1%}",
            f"{one.cluster_ratio:.2f}" if one.family != "exact" else "-",
            f"{100 * one.ap:.1f}",
            with_interval(100 * (exact - one.ap), one.lost_interval),
            f"{100 * (one.highest_ap - one.lowest_ap):.1f}" if one.seeds > 1 else "-",
            f"{100 * one.ap50:.1f}",
            _digits(one.edge_drift, 2),
            _digits(one.matched_iou, 3),
            _digits(one.encoder_error, 3),
        ]
        for one in found
    ]
    columns = [
        "attention",
        "seeds",
        "cost",
        "C/N",
        "AP",
        "lost [95 %]",
        "spread",
        "AP50",
        "edge drift, px",
        "matched IoU",
    ]
    return markdown([*columns, "encoder error"], rows)


def _growth(output: Path) -> Iterator[str]:
    part = read_part(output, "output-error")
    if part is None:
        return
    rows = part["results"]["rows"]
    sizes = sorted({row["tokens"] for row in rows})
    yield "## Clusters a head needs for an attention output within an error of exact, by N"
    cells = [
        [name, f"{error:.0%}", *(_digits(clusters_needed(_at(rows, tokens), name, error), 0) for tokens in sizes)]
        for name in GROWTH
        for error in FEW_ERRORS
    ]
    yield markdown(["attention", "error", *(f"N = {tokens:.0f}" for tokens in sizes)], cells)


def _times(output: Path) -> Iterator[str]:
    part = read_part(output, "attention-time")
    if part is None:
        return
    results, machine = part["results"], part["circumstances"]
    yield f"## Time of attention in all layers, threads: {results['threads']}, {machine['device']}"
    yield markdown(
        ["N", "attention", "ms, median", "of exact's"],
        [
            [str(row["tokens"]), row["attention"], f"{row['milliseconds']['median']:.1f}", f"{row['ratio']:.2f}"]
            for row in results["rows"]
        ],
    )


def _diversity(output: Path) -> Iterator[str]:
    part = read_part(output, "diversity")
    if part is None:
        return
    results = part["results"]
    layers = range(len(results["queries"]))
    yield f"## Diversity by layer, {results['images']} images"
    rows = [
        ["features entering, distance to centre", *(f"{results['features'][layer]:.2f}" for layer in layers)],
        ["queries, distance to centre", *(f"{results['queries'][layer]:.2f}" for layer in layers)],
    ]
    rows += [
        [f"C/N, {name}", *(f"{ratio:.2f}" for ratio in ratios)] for name, ratios in results["cluster_ratio"].items()
    ]
    yield markdown(["", *(f"layer {layer}" for layer in layers)], rows)


def _exact_ap(found: Sequence[Setting]) -> float:
    return next(one.ap for one in found if one.family == "exact")


def _at(rows: Sequence[Any], tokens: float) -> list[Any]:
    return [row for row in rows if row["tokens"] == tokens]


def _digits(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
