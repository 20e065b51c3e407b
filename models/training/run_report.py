"""The report of a finished run: curves, a contact sheet, precision by class, and the next command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from PIL import Image

from models.data.samples import Samples
from models.detector import load_detector
from models.evaluation.pictures import class_colours, drawn, side_by_side, tiled
from models.training.run import BEST, MODEL
from models.training.run_log import METRICS

CURVES: Final = "curves.png"
SHEET: Final = "validation.png"
SHOWN: Final = 12
"""Validation images on the contact sheet."""
THRESHOLD: Final = 0.5

Rows = list[dict[str, Any]]


def write_report(output: Path, refinement: str, held_out: Samples | None, say: Callable[[str], None]) -> None:
    """Write `curves.png` and `validation.png` into a run's folder, and say what they show and which command comes next.

    `refinement` names the folder of the box refinement's training in it, if any.
    """
    stages = {"run": read_rows(output / METRICS), "box refinement": read_rows(output / refinement / METRICS)}
    curves(stages).savefig(output / CURVES, dpi=110)
    best = output / (BEST if (output / BEST).exists() else MODEL)
    for line in precision_lines(stages):
        say(line)
    pictures = f"{output / CURVES}: losses and precision"
    if held_out is not None and len(held_out):
        contact_sheet(best, held_out).save(output / SHEET)
        pictures += f"; {output / SHEET}: labels and detections side by side"
    say(pictures)
    say(f"{best} is ready: act-detr serve --model {best}")


def read_rows(metrics: Path) -> Rows:
    """The rows of a `metrics.jsonl`; none where there is no such file."""
    if not metrics.exists():
        return []
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]


def precision_lines(stages: dict[str, Rows]) -> list[str]:
    """The best validation in words, with its precision by class."""
    rows = [(name, row) for name, rows in stages.items() for row in rows if "AP/exact" in row]
    if not rows:
        return []
    name, best = max(rows, key=lambda pair: pair[1]["AP/exact"])
    by_class = [
        f"{key.removeprefix('AP ').removesuffix('/exact')} {value:.3f}"
        for key, value in best.items()
        if key.startswith("AP ") and key.endswith("/exact")
    ]
    head = f"best in validation, after step {best['step']} of the {name}: "
    return [f"{head}AP {best['AP/exact']:.3f}, AP50 {best['AP50/exact']:.3f}; AP by class: {', '.join(by_class)}"]


def curves(stages: dict[str, Rows]) -> Figure:
    """Losses and precision by step, a column a stage."""
    stages = {name: rows for name, rows in stages.items() if rows} or {"run": []}
    figure = Figure(figsize=(7 * len(stages), 7), layout="constrained")
    axes = figure.subplots(2, len(stages), squeeze=False)
    for (name, rows), (losses, precision) in zip(stages.items(), axes.T, strict=True):
        _lines(losses, rows, lambda key: ("/" not in key and key == "total") or key.endswith(("/class", "/giou")))
        losses.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        _lines(precision, rows, lambda key: key.startswith(("AP", "iou/")))
        precision.set(xlabel="step", ylabel="AP on the validation images, or IoU", ylim=(0, 1))
    return figure


def _lines(axes: Any, rows: Rows, wanted: Callable[[str], bool]) -> None:
    for key in dict.fromkeys(key for row in rows for key in row if wanted(key)):
        points = [(row["step"], row[key]) for row in rows if key in row]
        axes.plot(*zip(*points, strict=True), label=key, marker="o" if len(points) < 30 else None, markersize=3)
    if axes.lines:
        axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def contact_sheet(model: Path, held_out: Samples) -> Image.Image:
    """The first validation images, twice each: labels on the left, detections of score 0.5 and more on the right."""
    detector = load_detector(str(model))
    pairs = []
    for index in range(min(SHOWN, len(held_out))):
        sample = held_out[index]
        truth, known = sample.truth, detector.labels
        detections = detector.detect(sample.image).detections.select(THRESHOLD, nms=detector.config.nms)
        scored = [f"{label} {score:.2f}" for label, score in zip(detections.labels, detections.scores, strict=True)]
        left = drawn(sample.image, truth.boxes_xyxy, truth.labels, class_colours(truth.labels, known))
        right = drawn(sample.image, detections.boxes_xyxy, scored, class_colours(detections.labels, known))
        pairs.append(side_by_side(left, right))
    return tiled(pairs)
