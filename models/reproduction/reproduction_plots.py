"""Plots of a reproduction, made from its JSON alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.config import AttentionConfig
from models.reproduction.encoder_plots import layer_cluster_figures, published_figures
from models.reproduction.feature_plots import diversity_figures, redundancy_figures, sharing_figures
from models.reproduction.output_error import size_for_error
from models.reproduction.plots import colour, label_lines, line, log_axis, panels, save, styled
from models.reproduction.reproduce import part_names, read_part
from models.reproduction.rivals import family
from models.reproduction.tradeoff import Setting, TradeoffRow, settings

PAPER: Final = ("ACT, L = 32", "ACT, L = 24", "ACT, L = 20", "ACT, L = 16", "K-means")
BEYOND: Final = ("ACT, L = 16", "ACT, key-aware", "K-means, key-aware", "tangent", "tangent, 16 centres")
GROWTH: Final = ("ACT, L = 16", "ACT, key-aware", "K-means", "K-means, key-aware", "tangent")
WANTED_ERROR: Final = 0.1
DEAREST: Final = 2.0
"""Settings that cost more than so many times exact attention are left to the tables."""


def write_plots(output: Path) -> list[Path]:
    """Draw what was measured into the folder that holds the JSON; returns the files."""
    with styled():
        figures = list(_figures(output))
        for name, figure in figures:
            save(figure, output / name)
    return [output / name for name, _ in figures]


def _figures(output: Path) -> Iterator[tuple[str, Figure]]:
    for name in part_names(output, "tradeoff-"):
        yield f"{name}.svg", tradeoff_figure(read_part(output, name))
    singles: Mapping[str, Callable[[Any], Iterator[tuple[str, Figure]]]] = {
        "diversity": diversity_figures,
        "redundancy": redundancy_figures,
        "sharing": sharing_figures,
        "output-error": output_error_figures,
        "attention-time": attention_time_figures,
        "published-size": published_figures,
    }
    for name, draw in singles.items():
        part = read_part(output, name)
        if part is not None:
            yield from draw(part)
    yield from layer_cluster_figures([read_part(output, name) for name in part_names(output, "layer-clusters-")])


def tradeoff_settings(part: Mapping[str, Any]) -> list[Setting]:
    """The rows of a trade-off's JSON, seeds taken together."""
    return settings([TradeoffRow(**row) for row in part["results"]["rows"]])


def tradeoff_figure(part: Mapping[str, Any]) -> Figure:
    """AP and edge drift against cost, the paper's kinds of attention on the left, the others on the right."""
    found = tradeoff_settings(part)
    exact = next(one for one in found if one.family == "exact")
    tokens = part["results"]["rows"][0]["tokens"]
    figure, axes = panels(2, 2, 9.6, 6.4, sharex=True, sharey="row")
    for column, names in enumerate((PAPER, BEYOND)):
        top, bottom = axes[column], axes[2 + column]
        top.axhline(100 * exact.ap, color=colour("exact"), lw=0.8)
        _family_lines(top, found, names, lambda one: 100 * one.ap, faint=PAPER if column else ())
        _family_lines(bottom, found, names, lambda one: one.edge_drift, faint=PAPER if column else ())
        log_axis(bottom, "x", percent=True)
        log_axis(bottom, "y")
        bottom.set_xlabel("multiply-adds of attention, of exact attention's")
    axes[0].set_title(f"AP (exact: {100 * exact.ap:.1f}); N = {tokens:.0f}, {part['settings']['images']} images")
    axes[1].set_title("the same, beyond the paper")
    axes[2].set_title("how far a box's edges move, pixels")
    for place, names in enumerate((PAPER, BEYOND)):
        _label_families(axes[place], found, names, lambda one: 100 * one.ap)
        _label_families(axes[2 + place], found, names, lambda one: one.edge_drift)
    return figure


def output_error_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Error of the encoder's output against cost by N, and how many clusters a fixed error needs by N."""
    by_tokens: dict[float, list[Any]] = defaultdict(list)
    for row in part["results"]["rows"]:
        by_tokens[row["tokens"]].append(row)
    names = [*dict.fromkeys(_family(row) for row in part["results"]["rows"])]
    figure, axes = panels(1, len(by_tokens), 2.2 + 2.4 * len(by_tokens), 3.4, sharey=True, sharex=True)
    for place, (tokens, rows) in zip(axes, sorted(by_tokens.items()), strict=True):
        for name in names:
            line(place, name, _cost_and_error(rows, name))
        place.set_title(f"N = {tokens:.0f}")
        log_axis(place, "x", percent=True)
        log_axis(place, "y", percent=True)
    axes[0].set_ylabel("error of the encoder's output")
    figure.supxlabel("multiply-adds of attention, of exact attention's", fontsize=9)
    last = by_tokens[max(by_tokens)]
    label_lines(axes[-1], [(name, *_cost_and_error(last, name)[-1], colour(name)) for name in names])
    yield "output-error.svg", figure
    if len(by_tokens) > 1:
        yield "clusters-by-tokens.svg", _growth(by_tokens)


def _growth(by_tokens: Mapping[float, Sequence[Any]]) -> Figure:
    figure, (axes,) = panels(1, 1, 6.4, 3.6)
    ends = []
    for name in GROWTH:
        points = [(tokens, clusters_needed(rows, name, WANTED_ERROR)) for tokens, rows in sorted(by_tokens.items())]
        known = [(tokens, clusters) for tokens, clusters in points if clusters is not None]
        if known:
            line(axes, name, known)
            ends.append((name, *known[-1], colour(name)))
    axes.set_title(f"clusters a head needs for an attention output within {WANTED_ERROR:.0%} of exact")
    axes.set_xlabel("tokens N")
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set_xticks(sorted(by_tokens), [f"{tokens:.0f}" for tokens in sorted(by_tokens)])
    label_lines(axes, ends)
    return figure


def clusters_needed(rows: Sequence[Any], name: str, wanted: float) -> float | None:
    """Clusters at which a family's mean attention error comes down to `wanted`; None where that was not met."""
    own = [row for row in rows if _family(row) == name]
    errors = [sum(row["layers"]) / len(row["layers"]) for row in own]
    return size_for_error(errors, [row["clusters"] for row in own], wanted)


def attention_time_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Time over that of fused exact attention, by N."""
    results = part["results"]
    by_kind: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for tokens in sorted({row["tokens"] for row in results["rows"]}):
        kinds: dict[str, int] = defaultdict(int)
        for row in results["rows"]:
            if row["tokens"] == tokens and row["attention"] != "exact":
                by_kind[timed_name(row["attention"], kinds)].append((tokens, row["ratio"]))
    figure, (axes,) = panels(1, 1, 7.2, 3.8)
    axes.axhline(1, color=colour("exact"), lw=0.8)
    ends = []
    for name, points in by_kind.items():
        attention = name.split(":")[0]
        shade = colour(attention.strip())
        axes.plot(*zip(*points, strict=True), "o-", color=shade)
        ends.append((name, *points[-1], shade))
    log_axis(axes, "x")
    log_axis(axes, "y")
    ticks = sorted({tokens for points in by_kind.values() for tokens, _ in points})
    axes.set_xticks(ticks, [f"{tokens}" for tokens in ticks])
    axes.set_xlabel("tokens N")
    threads = results["threads"]
    axes.set_title(f"time of attention over fused exact attention's, {threads} thread{'s' * (threads > 1)}")
    label_lines(axes, ends)
    yield "attention-time.svg", figure


def timed_name(attention: str, seen: dict[str, int]) -> str:
    """What a timed setting is called at every N, where r differs: ACT's by their place, the others by C."""
    config = AttentionConfig.parse(attention)
    name = family(config)
    seen[name] += 1
    if config.mode != "act":
        return f"{name}: C = {config.C}"
    if config.metric != "query":
        return f"{name}: C/N = 0.1"
    return f"{name}: C/N = {(0.1, 0.5)[(seen[name] - 1) % 2]}"


def _family_lines(
    axes: Axes,
    found: Sequence[Setting],
    names: Sequence[str],
    value: Callable[[Setting], float | None],
    faint: Sequence[str],
) -> None:
    for name in names:
        points = _points(found, name, value)
        if points:
            line(axes, name, points, faint=name in faint)


def _label_families(
    axes: Axes, found: Sequence[Setting], names: Sequence[str], value: Callable[[Setting], float | None]
) -> None:
    ends = [(name, points[-1]) for name in names if (points := _points(found, name, value))]
    label_lines(axes, [(name, x, y, colour(name)) for name, (x, y) in ends])


def _points(found: Sequence[Setting], name: str, value: Callable[[Setting], float | None]) -> list[tuple[float, float]]:
    values = [(one.cost, value(one)) for one in found if one.family == name and one.cost <= DEAREST]
    return sorted((cost, y) for cost, y in values if y is not None)


def _cost_and_error(rows: Sequence[Any], name: str) -> list[tuple[float, float]]:
    return sorted((float(row["cost"]), float(row["encoder"])) for row in rows if _family(row) == name)


def _family(row: Mapping[str, Any]) -> str:
    return family(AttentionConfig.parse(row["attention"]))
