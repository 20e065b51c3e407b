"""The tables of `models.benchmarks.plugged`, from the `models` of its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table


def rows(measured: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row of text per model and setting."""
    return [
        (
            one["family"],
            str(one["tokens"]),
            str(one["layers"]),
            setting["attention"],
            f"{setting['cluster_ratio']:.2f}",
            f"{setting['error']:.3f}",
            f"{setting['multiply_adds']:.2f}",
            f"{setting['encoder_milliseconds']:.0f}",
            f"{setting['encoder_time_ratio']:.2f}",
            f"{setting['milliseconds']['median']:.0f}",
            f"{setting['time_ratio']:.2f}",
        )
        for one in measured
        for setting in one["measurements"]
    ]


COLUMNS: Final = (
    *("model", "tokens", "layers", "attention", "C/N", "error", "multiply-adds"),
    *("encoder, ms", "encoder", "model, ms", "model"),
)


def table(measured: Sequence[Mapping[str, Any]]) -> Table:
    """One row per model and setting."""
    drawn = Table(*COLUMNS, title="multiply-adds of attention, times of encoder and model relative to exact attention")
    for row in rows(measured):
        drawn.add_row(*row)
    return drawn


def markdown(measured: Sequence[Mapping[str, Any]]) -> str:
    """A row per model: times of the exact encoder and model, others' encoder time and error."""
    settings = [one["attention"] for one in measured[0]["measurements"]]
    columns = ("model", "tokens", "layers", "encoder, model", *(f"`{name}`" for name in settings[1:]))
    lines = [columns, ("---",) * len(columns)]
    for one in measured:
        exact, *others = one["measurements"]
        cells = (f"{setting['encoder_time_ratio']:.2f}; {setting['error']:.3f}" for setting in others)
        times = f"{exact['encoder_milliseconds']:.0f} ms, {exact['milliseconds']['median']:.0f} ms"
        counts = (str(one["tokens"]), str(one["layers"]))
        lines.append((one["family"], *counts, times, *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def drawn(page: str, measured: Sequence[Mapping[str, Any]]) -> str:
    """A page with the table of these results. Raises ValueError for a page that has no place for it."""
    begin, end = "<!-- table: plugged -->\n", "<!-- end -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError("the page has no place for the table plugged")
    return f"{before}{begin}\n{markdown(measured)}\n\n{end}{after}"
