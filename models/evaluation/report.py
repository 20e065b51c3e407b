"""An evaluation as tables for people and as JSON that says how to repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from rich.markup import escape
from rich.table import Table

from models.data.samples import Samples
from models.detector import Detector
from models.evaluation.coco_metrics import SIZES
from models.evaluation.evaluate import Evaluation
from models.evaluation.weight_digests import weight_digests
from models.measurement.environment import run_environment

MOST_CLASSES: Final = 10
"""Data sets of more classes have them in the JSON alone."""


def tables(evaluations: Sequence[Evaluation]) -> Iterator[Table]:
    """Precision, answers, cost, clusters and nearness to exact, the last two where there are any: a row a kind."""
    yield _precision(evaluations)
    yield _answers(evaluations)
    yield _cost(evaluations)
    if any(row.clusters for row in evaluations):
        yield _clusters(evaluations)
    if any(row.fidelity for row in evaluations):
        yield _fidelity(evaluations)


def as_json(
    evaluations: Sequence[Evaluation], detector: Detector, model: str, samples: Samples, cache_dir: Path | None = None
) -> dict[str, Any]:
    """The results, and the machine, code, weights and data that they came from.

    `model` and `cache_dir` are what the detector was loaded with. `clock` says what the milliseconds are of.
    """
    config = detector.config
    unknown = [name for name in samples.classes if name not in detector.labels]
    device = torch.device(detector.device)
    return {
        **run_environment(device),
        "packages": {name: version(name) for name in ("torchvision", "faster-coco-eval", "numpy", "pillow")},
        "clock": _clock(device),
        "model": {
            "name": config.name,
            "given": model,
            "sha256": weight_digests(model, cache_dir),
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
            "unknown_classes": unknown,
            "unlabelled_classes": list(evaluations[0].unlabelled),
            "notices": samples.notices.as_json(),
        },
        "evaluations": [_row(row) for row in evaluations],
    }


def without_label(unlabelled: Sequence[str]) -> str | None:
    """Say which of the model's classes do not count; None where all do."""
    if not unlabelled:
        return None
    few = len(unlabelled) <= MOST_CLASSES
    names = escape(", ".join(unlabelled)) if few else f"{len(unlabelled)} of the model's classes"
    return f"without {names}: the data have no label of them"


def _row(row: Evaluation) -> dict[str, Any]:
    attention = {"mode": row.attention.mode, **row.attention.options}
    found = {name: value for name, value in asdict(row).items() if name != "resampled_ap" or value}
    del found["unlabelled"]  # it is of the data
    return {"setting": str(row.attention), **found, "attention": attention}


def _precision(evaluations: Sequence[Evaluation]) -> Table:
    classes = sorted({name for row in evaluations for name in row.metrics.by_class})
    shown = classes if len(classes) <= MOST_CLASSES else []
    table = Table(
        "attention", "AP", "AP50", "AP75", *(f"AP_{size[0].upper()}" for size in SIZES), "boxes right", *shown
    )
    table.title = f"precision on {evaluations[0].images} images, {len(classes)} classes"
    table.caption = without_label(evaluations[0].unlabelled)
    for row in evaluations:
        metrics = row.metrics
        by_size = [metrics.by_size.get(size) for size in SIZES]
        by_class = [metrics.by_class.get(name) for name in shown]
        values = (metrics.ap, metrics.ap50, metrics.ap75, *by_size, row.localized_ap, *by_class)
        table.add_row(str(row.attention), *(_number(value, 3) for value in values))
    return table


def _answers(evaluations: Sequence[Evaluation]) -> Table:
    table = Table("attention", "of them right", "objects found", "an image")
    table.title = f"detections of score {evaluations[0].answers.threshold:g} and more, IoU 0.5"
    table.caption = without_label(evaluations[0].unlabelled)
    for row in evaluations:
        given = row.answers
        table.add_row(str(row.attention), f"{given.precision:.3f}", f"{given.recall:.3f}", f"{given.per_image:.1f}")
    return table


def _cost(evaluations: Sequence[Evaluation]) -> Table:
    exact = evaluations[0].exact_gflops
    table = Table("attention", "attention GFLOPs", "encoder", "total", "ms, median", "mean", "of it backbone")
    table.title = f"an image; exact attention: {exact.attention:.3g}, {exact.encoder:.3g}, {exact.total:.3g} GFLOPs"
    for row in evaluations:
        cost, speed = row.gflops, row.speed
        table.add_row(
            str(row.attention),
            *(f"{part:.3g}" for part in (cost.attention, cost.encoder, cost.total)),
            *(f"{part:.1f}" for part in (speed.median, speed.mean, speed.backbone)),
        )
    return table


def _clusters(evaluations: Sequence[Evaluation]) -> Table:
    clustered = [row for row in evaluations if row.clusters]
    table = Table("attention", *(f"layer {layer}" for layer in range(len(clustered[0].clusters))))
    table.title = f"clusters of a head and C/N; N = {clustered[0].tokens:.0f} in the mean"
    for row in clustered:
        layers = zip(row.clusters, row.cluster_ratio, strict=True)
        table.add_row(str(row.attention), *(f"{count:.0f} ({ratio:.2f})" for count, ratio in layers))
    return table


def _fidelity(evaluations: Sequence[Evaluation]) -> Table:
    compared = [(row.attention, row.fidelity) for row in evaluations if row.fidelity]
    table = Table("attention", "box drift", "edge drift, px", "matched IoU", "found again", "encoder error")
    table.title = f"against exact attention, where that is confident ({compared[0][1].queries} queries)"
    for attention, near in compared:
        table.add_row(
            str(attention),
            _number(near.box_drift, 4),
            _number(near.edge_drift, 2),
            _number(near.matched_iou, 3),
            _number(near.found_again, 3),
            _number(near.encoder_error, 3),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _clock(device: torch.device) -> str:
    if device.type == "cuda":
        return "elapsed, after the GPU has caught up"
    if torch.get_num_threads() == 1:
        return "processor time, which other programs stretch little"
    return "elapsed; other programs on the machine stretch it"
