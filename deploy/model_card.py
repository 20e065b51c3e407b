"""Draw the tables of the model card and of the README from the evaluations: `python -m deploy.model_card`.

Each table stands between a comment that names it, `<!-- table: KIND NAME -->`, and `<!-- end -->`. KIND NAME is one of

    models EVALUATION             both models with their own attention settings, such as `models pages`
    costs EVALUATION              the same in short: what attention costs
    evaluation MODEL/EVALUATION   every setting of one evaluation
    parts MODEL/EVALUATION        what box refinement and suppression bring
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from deploy.comparison import EVALUATIONS
from deploy.local_server import ROOT
from deploy.performance_tables import markdown
from models.named_models import EMBEDDED, PAGE_LABELS, named_config
from models.whole_file import whole_file

CARD: Final = EVALUATIONS.parent / "README.md"
README: Final = ROOT / "README.md"
NOT_MEASURED: Final = "Not measured yet."
PARTS: Final = {
    "without box refinement (`--no-box-refinement --nms 0.7`)": "-unrefined",
    "without suppression (no `--nms`)": "-all",
    "as served": "",
}
"""Endings of the names of the evaluations by exact attention that are compared."""

Evaluation = dict[str, Any]


def rows_of(name: str, folder: Path = EVALUATIONS) -> list[Evaluation]:
    """Return the settings of `MODEL/EVALUATION`, exact attention first; none where it was not run."""
    file = folder / f"{name}.json"
    rows: list[Evaluation] = json.loads(file.read_text(encoding="utf-8"))["evaluations"] if file.exists() else []
    return rows


def evaluation_table(name: str, folder: Path = EVALUATIONS) -> str:
    """Return every setting of `MODEL/EVALUATION`: precision, clusters, cost, drift."""
    columns = ["attention", "AP", "AP50", "AP75", *PAGE_LABELS, "mean C/N", "attention GFLOPs", "encoder GFLOPs"]
    return markdown([*columns, "edge drift, px", "ms"], [_cells(row) for row in rows_of(name, folder)])


def models_table(evaluation: str, folder: Path = EVALUATIONS) -> str:
    """Return the precision and cost of each model with every attention, by the model's own settings."""
    cells = [
        [
            f"`{model}`",
            f"`{row['setting']}`",
            f"{row['tokens']:.0f}",
            f"{row['metrics']['ap']:.3f}",
            *(f"{row['metrics']['by_class'][label]:.2f}" for label in PAGE_LABELS),
            f"{row['gflops']['attention']:.2f}",
            f"{row['gflops']['total']:.2f}",
            f"{row['speed']['median']:.0f}",
        ]
        for model, row in _own_settings(evaluation, folder)
    ]
    columns = [
        "model",
        "attention",
        "tokens",
        "AP",
        *PAGE_LABELS,
        "attention GFLOPs",
        "GFLOPs after the backbone",
        "ms",
    ]
    return markdown(columns, cells)


def costs_table(evaluation: str, folder: Path = EVALUATIONS) -> str:
    """Return AP and what attention costs, in the encoder's multiply-adds over the exact ones and in time."""
    cells = [
        [
            f"`{model}`",
            f"`{row['setting']}`",
            f"{row['tokens']:.0f}",
            f"{row['metrics']['ap']:.3f}",
            share(row["gflops"]["encoder"] / row["exact_gflops"]["encoder"]),
            f"{row['speed']['median']:.0f} ms",
        ]
        for model, row in _own_settings(evaluation, folder)
    ]
    columns = ["model", "attention", "encoder tokens", "AP", "multiply-adds of the encoder", "time, one CPU thread"]
    return markdown(columns, cells)


def parts_table(name: str, folder: Path = EVALUATIONS) -> str:
    """Return what box refinement and suppression bring with exact attention."""
    cells = []
    for part, ending in PARTS.items():
        for row in rows_of(name + ending, folder)[:1]:
            metrics, point = row["metrics"], row["operating_point"]
            shares = (f"{point[name]:.2f}" for name in ("precision", "recall"))
            cells.append(
                [part, f"{metrics['ap']:.3f}", f"{metrics['ap50']:.3f}", *shares, f"{row['speed']['median']:.0f}"]
            )
    return markdown(["", "AP", "AP50", "precision", "recall", "ms"], cells)


TABLES: Final[dict[str, Callable[[str, Path], str]]] = {
    "models": models_table,
    "costs": costs_table,
    "evaluation": evaluation_table,
    "parts": parts_table,
}


def draw(page: str, folder: Path = EVALUATIONS) -> str:
    """Return the page with its tables drawn anew. Raises KeyError for a kind of table that there is not."""

    def drawn(found: re.Match[str]) -> str:
        kind, name = found.groups()
        table = TABLES[kind](name, folder)
        body = table if table.count("\n") > 1 else NOT_MEASURED
        return f"<!-- table: {kind} {name} -->\n\n{body}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\S+) (\S+) -->\n.*?<!-- end -->", drawn, page, flags=re.DOTALL)


def _own_settings(evaluation: str, folder: Path) -> Iterator[tuple[str, Evaluation]]:
    """Yield each model with the rows of its own settings, as far as they were evaluated."""
    for model in EMBEDDED:
        config = named_config(model)
        by_setting = {row["setting"]: row for row in rows_of(f"{model}/{evaluation}", folder)}
        for attention in config.default_attentions:
            if (row := by_setting.get(str(attention))) is not None:
                yield model, row


def _cells(row: Evaluation) -> Sequence[str]:
    metrics, fidelity, gflops = row["metrics"], row["fidelity"], row["gflops"]
    return [
        f"`{row['setting']}`",
        *(f"{metrics[name]:.3f}" for name in ("ap", "ap50", "ap75")),
        *(f"{metrics['by_class'][label]:.2f}" for label in PAGE_LABELS),
        share(fmean(row["cluster_ratio"] or [row["merged_ratio"]])),
        f"{gflops['attention']:.3f}",
        f"{gflops['encoder']:.3f}",
        f"{fidelity['edge_drift']:.1f}" if fidelity else "0",
        f"{row['speed']['median']:.0f}",
    ]


def share(value: float) -> str:
    """Write a share of exact attention's with two digits; exact attention's own as 1."""
    return "1" if value == 1 else f"{value:.2f}"


def main() -> None:
    """Draw the card and the README."""
    for page in (CARD, README):
        with whole_file(page) as part:
            part.write_text(draw(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
