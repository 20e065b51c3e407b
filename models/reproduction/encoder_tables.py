"""Markdown tables of clusters by layer and of the encoder of published size, made from a reproduction's JSON alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.reproduction.encoder_plots import sharpness
from models.reproduction.reproduce import part_names, read_part

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def layer_cluster_tables(output: Path) -> Iterator[tuple[str, Sequence[Table]]]:
    """Headings, each with its tables: one C for all and C by layer, then what the second gains."""
    for name in part_names(output, "layer-clusters-"):
        part = read_part(output, name)
        images = part["settings"]["images"]
        rows, gains = part["results"]["rows"], part["results"]["gains"]
        yield (
            f"{name}: tangent clusters by layer at equal cost, {images} images, model {part['model']['name']}",
            [_shared(rows), _gains(gains)],
        )


def published_tables(output: Path) -> Iterator[tuple[str, Sequence[Table]]]:
    """A heading and its tables: what the layers were made like, and errors by sharpness."""
    part = read_part(output, "published-size")
    if part is None:
        return
    levels = part["results"]["levels"]
    tokens = levels[0]["rows"][0]["tokens"]
    yield (
        f"published-size: the encoder of {part['settings']['encoder']} with made weights, N = {tokens:.0f}",
        [_characters(part["results"]["trained"], levels), *map(_errors, levels)],
    )


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 1) -> str:
    """A value and its 95 % interval: 0.1 [-0.3, 0.6]."""
    if interval is None:
        return f"{value:.{digits}f}"
    low, high = interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _shared(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ["mean C", "clusters", "C of each layer", "cost", "error if squares add up", "encoder error"]
    columns += ["edge drift, px", "AP", "95 % of AP lost"]
    cells = [
        [
            str(row["mean"]),
            row["kind"],
            " ".join(map(str, row["clusters"])),
            f"{row['cost']:.1%}",
            f"{row['predicted']:.4f}",
            f"{row['encoder_error']:.4f}",
            "-" if row["edge_drift"] is None else f"{row['edge_drift']:.2f}",
            f"{100 * row['ap']:.1f}",
            f"{row['lost']['low']:.1f} to {row['lost']['high']:.1f}",
        ]
        for row in rows
    ]
    return columns, cells


def _gains(gains: Sequence[Mapping[str, Any]]) -> Table:
    cells = [
        [
            str(gain["mean"]),
            f"{gain['error']:.1%}" + ("" if gain["deviation"] is None else f" ± {gain['deviation']:.1%}"),
            with_interval(gain["ap"], (gain["chance"]["low"], gain["chance"]["high"])),
        ]
        for gain in gains
    ]
    return ["mean C", "encoder error less, ± standard error", "AP more, points [95 %]"], cells


def _characters(trained: Sequence[Mapping[str, float]], levels: Sequence[Any]) -> Table:
    kinds = [("trained model", trained), *((f"made, {sharpness(level)}", level["found"]) for level in levels)]
    layers = max(len(found) for _, found in kinds)
    cells = [
        [name, what, *(f"{layer[field]:.2g}" for layer in found), *[""] * (layers - len(found))]
        for name, found in kinds
        for field, what in (("share", "effective share of keys"), ("strength", "attention over tokens, varying part"))
    ]
    return ["encoder", "", *(f"layer {layer}" for layer in range(layers))], cells


def _errors(level: Mapping[str, Any]) -> Table:
    cells = [
        [
            row["attention"],
            f"{row['cost']:.1%}",
            f"{row['clusters']:.0f}",
            f"{sum(row['layers']) / len(row['layers']):.4f}",
            f"{row['encoder']:.4f}",
        ]
        for row in level["rows"]
    ]
    return [sharpness(level), "cost", "C", "attention error", "encoder error"], cells
