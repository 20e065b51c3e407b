"""The table that `act-detr detect` prints of a result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.http.schemas import DetectionResult

_out: Final = Console()


def print_table(path: Path, result: DetectionResult) -> None:
    """Print the detections of a file, and a line about the attention."""
    name = os.fsencode(path).decode(errors="replace")
    table = Table("label", "score", "xmin", "ymin", "xmax", "ymax", title=escape(name), title_justify="left")
    for row in result.detections:
        corners = (row.box.xmin, row.box.ymin, row.box.xmax, row.box.ymax)
        table.add_row(escape(row.label), f"{row.score:.3f}", *(f"{value:.1f}" for value in corners))
    _out.print(table)
    _out.print(_cost(result), style="dim", soft_wrap=True)


def _cost(result: DetectionResult) -> str:
    attention, tiles = result.attention, result.tiles.rows * result.tiles.columns
    of_tiles = f" in each of {tiles} tiles" if tiles > 1 else ""
    left = "" if attention.merged_tokens is None else f"{attention.merged_tokens} of "
    layers = ", ".join(f"{row.mean:.0f}" for row in attention.clusters)
    clusters = f"; clusters by layer {layers}" if layers else ""
    return (
        f"{attention.mode} attention over {left}{attention.tokens} tokens{of_tiles} ({attention.reason}){clusters}; "
        f"encoder {attention.encoder_gflops:.2f} of {attention.exact_encoder_gflops:.2f} GFLOPs"
    )
