"""An evaluation as tables for the terminal and as JSON that says how to repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, Final

import torch
from rich.markup import escape
from rich.table import Table

from models.data.samples import Samples
from models.detector import Detector
from models.evaluation.coco_metrics import SIZES
from models.evaluation.evaluate import Evaluation
from models.evaluation.mistakes import KINDS
from models.evaluation.weights_digest import weights_digest
from models.measurement.environment import run_environment
from models.measurement.timing import clock_name

MAX_CLASSES: Final = 10
"""Data sets of more classes have them in the JSON only."""


def tables(evaluations: Sequence[Evaluation]) -> Iterator[Table]:
    """Average precision, operating point, mistakes, cost, clusters and fidelity, the last two where there are any."""
    yield _average_precision(evaluations)
    yield _operating_point(evaluations)
    yield _mistakes(evaluations)
    yield _cost(evaluations)
    if any(row.clusters for row in evaluations):
        yield _clusters(evaluations)
    if any(row.fidelity for row in evaluations):
        yield _fidelity(evaluations)


def as_json(evaluations: Sequence[Evaluation], detector: Detector, model: str, samples: Samples) -> dict[str, Any]:
    """The results, and the machine, code, weights and data that they came from.

    `model` is what the detector was loaded from; `clock` names the clock behind the milliseconds.
    """
    config = detector.config
    device = torch.device(detector.device)
    return {
        **run_environment(device),
        "packages": {name: version(name) for name in ("torchvision", "faster-coco-eval", "numpy", "pillow")},
        "clock": clock_name(device),
        "model": {
            "name": config.name,
            "given": model,
            "weights_sha256": weights_digest(detector),
            "parameters": detector.parameters,
            "precision": detector.precision,
            "shortest_side": config.shortest_side,
            "longest_side": config.longest_side,
            "box_refinement": config.box_refinement is not None,
        },
        "data": {
            **samples.described(),
            "images": len(samples),
            "classes": [name for name in samples.classes if name in detector.labels],
            "unknown_classes": [name for name in samples.classes if name not in detector.labels],
            "unlabelled_classes": list(evaluations[0].unlabelled),
            "notices": samples.notices.as_json(),
        },
        "evaluations": [_json_row(row) for row in evaluations],
    }


def unlabelled_caption(unlabelled: Sequence[str]) -> str | None:
    """Name the model's classes that do not count; None where all do."""
    if not unlabelled:
        return None
    few = len(unlabelled) <= MAX_CLASSES
    names = escape(", ".join(unlabelled)) if few else f"{len(unlabelled)} of the model's classes"
    return f"without {names}, which the data do not label"


def _json_row(row: Evaluation) -> dict[str, Any]:
    values = {
        name: value for name, value in asdict(replace(row, detections=())).items() if name != "resampled_ap" or value
    }
    del values["unlabelled"], values["detections"]  # a property of the data, and more than a report holds
    values["mistakes"] = row.mistakes.by_class
    return {
        "setting": str(row.attention),
        **values,
        "attention": {"mode": row.attention.mode, **row.attention.options},
    }


def _average_precision(evaluations: Sequence[Evaluation]) -> Table:
    classes = sorted({name for row in evaluations for name in row.metrics.by_class})
    shown = classes if len(classes) <= MAX_CLASSES else []
    sizes = (f"AP_{size[0].upper()}" for size in SIZES)
    table = Table("attention", "AP", "AP50", "AP75", *sizes, "AP with true boxes", *shown)
    table.title = f"average precision on {evaluations[0].images} images, {len(classes)} classes"
    table.caption = unlabelled_caption(evaluations[0].unlabelled)
    for row in evaluations:
        metrics = row.metrics
        by_size = [metrics.by_size.get(size) for size in SIZES]
        by_class = [metrics.by_class.get(name) for name in shown]
        values = (metrics.ap, metrics.ap50, metrics.ap75, *by_size, row.ap_with_true_boxes, *by_class)
        table.add_row(str(row.attention), *(_number(value, 3) for value in values))
    return table


def _operating_point(evaluations: Sequence[Evaluation]) -> Table:
    table = Table("attention", "precision", "recall", "detections/image")
    table.title = f"detections of score {evaluations[0].operating_point.threshold:g} and above, at IoU 0.5"
    table.caption = unlabelled_caption(evaluations[0].unlabelled)
    for row in evaluations:
        point = row.operating_point
        table.add_row(str(row.attention), f"{point.precision:.3f}", f"{point.recall:.3f}", f"{point.per_image:.1f}")
    return table


def _mistakes(evaluations: Sequence[Evaluation]) -> Table:
    table = Table("attention", *KINDS)
    table.title = f"mistakes in detections of score {evaluations[0].operating_point.threshold:g} and above"
    table.caption = unlabelled_caption(evaluations[0].unlabelled)
    for row in evaluations:
        table.add_row(str(row.attention), *(str(row.mistakes.count(kind)) for kind in KINDS))
    return table


def _cost(evaluations: Sequence[Evaluation]) -> Table:
    exact = evaluations[0].exact_gflops
    gflops = (f"{part} GFLOPs" for part in ("attention", "encoder", "total"))
    table = Table("attention", *gflops, "median ms", "mean ms", "backbone ms")
    exact_parts = ", ".join(_short(part) for part in (exact.attention, exact.encoder, exact.total))
    table.title = f"cost per image; exact attention: {exact_parts} GFLOPs"
    for row in evaluations:
        cost, speed = row.gflops, row.speed
        table.add_row(
            str(row.attention),
            *(_short(part) for part in (cost.attention, cost.encoder, cost.total)),
            *(f"{part:.1f}" for part in (speed.median, speed.mean, speed.backbone)),
        )
    return table


def _clusters(evaluations: Sequence[Evaluation]) -> Table:
    clustered = [row for row in evaluations if row.clusters]
    table = Table("attention", *(f"layer {layer}" for layer in range(len(clustered[0].clusters))))
    table.title = f"clusters C per head (C/N); N = {clustered[0].tokens:.0f} on average"
    for row in clustered:
        layers = zip(row.clusters, row.cluster_ratio, strict=True)
        table.add_row(str(row.attention), *(f"{count:.0f} ({ratio:.2f})" for count, ratio in layers))
    return table


def _fidelity(evaluations: Sequence[Evaluation]) -> Table:
    compared = [(row.attention, row.fidelity) for row in evaluations if row.fidelity]
    table = Table("attention", "box drift", "edge drift, px", "matched IoU", "match rate", "encoder error")
    table.title = f"against exact attention, where that is confident ({compared[0][1].queries} queries)"
    for attention, fidelity in compared:
        table.add_row(
            str(attention),
            _number(fidelity.box_drift, 4),
            _number(fidelity.edge_drift, 2),
            _number(fidelity.matched_iou, 3),
            _number(fidelity.match_rate, 3),
            _number(fidelity.encoder_error, 3),
        )
    return table


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
