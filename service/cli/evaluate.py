"""`act-detr evaluate`: kinds of attention side by side on a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from service.cli.console import err, exit_on_error, progress_bar, require

if TYPE_CHECKING:
    from models.data.samples import Sample, Samples
    from models.detector import Detector

WIDEST: Final = 150
"""Columns of the widest table."""


def evaluate(
    data: Annotated[
        str, typer.Option(help="Folder in COCO's format, or generated pages: pages[:COUNT[:HEIGHTxWIDTH]].")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", envvar="ACT_DETR_MODEL", help="Name, file or folder of a model.")
    ] = "pages-small",
    attention: Annotated[
        list[str] | None,
        typer.Option(
            help="exact, act, act:L=32,r=8, kmeans:C=64, ...; give it several times. An L, r or C that is left out is "
            "the model's own. Exact and act unless given."
        ),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO annotation file, where the folder's own is not meant.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many images alone.")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="SHORT[:LONG]", help="Pixels of the resized image's sides, instead of the model's own."),
    ] = None,
    nms: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Score without what overlaps a better one of its class by a greater IoU."),
    ] = None,
    plain_boxes: Annotated[
        bool, typer.Option("--plain-boxes", help="Without the model's box refinement: what the DETR itself says.")
    ] = False,
    device: Annotated[str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; 1 makes timings steadier.")] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON file for the results and all it takes to repeat them.")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder of downloaded checkpoints.")
    ] = None,
) -> None:
    """Compare precision, cost and speed of kinds of attention on one data set, image by image."""
    require("evaluate", "faster_coco_eval")
    import torch

    from models.data.open_samples import open_samples, unknown_classes
    from models.evaluation.evaluate import evaluate as run
    from models.evaluation.report import as_json, tables

    if threads is not None:
        torch.set_num_threads(threads)
    with exit_on_error(2):
        if output is not None and not output.parent.is_dir():
            raise ValueError(f"there is no folder {output.parent} to write {output.name} into")
        sides = _sides(size)
        samples = open_samples(data, annotations, limit)
    for line in samples.notices.lines():
        err.print(f"[yellow]{escape(line)}[/yellow]", soft_wrap=True)
    detector = _load(model, device, cache_dir, sides)
    with exit_on_error(2):
        if plain_boxes:
            detector = detector.without_box_refinement()
        kinds = [detector.config.attention(text) for text in attention or ("exact", "act")]
        _tell_unknown(unknown_classes(samples.classes, detector.labels), len(samples.classes))
    with exit_on_error(1), _bar(len(samples)) as progress:
        evaluations = run(detector, _counted(samples, progress), kinds, nms=nms)
    out = Console(width=max(err.width, WIDEST))  # a number cut short is worse than a line that wraps
    for table in tables(evaluations):
        out.print(table)
    if output is not None:
        with exit_on_error(1):
            text = json.dumps(as_json(evaluations, detector, model, samples, cache_dir), indent=1)
            output.write_text(text + "\n", encoding="utf-8")


def _sides(size: str | None) -> tuple[int, int | None] | None:
    """`SHORT` or `SHORT:LONG` as numbers. Raises ValueError."""
    if size is None:
        return None
    short, colon, long = size.partition(":")
    if not short.isdecimal() or (colon and not long.isdecimal()) or int(short) < 1 or (long and int(long) < int(short)):
        raise ValueError(f"--size is SHORT or SHORT:LONG in pixels, the second no less than the first, not {size}")
    return int(short), int(long) if long else None


def _load(model: str, device: str, cache_dir: Path | None, sides: tuple[int, int | None] | None) -> Detector:
    from models.detector import load_detector

    with exit_on_error(2), err.status(f"loading {escape(model)}") as status:

        def progress(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.0f}" if total else ""
            status.update(f"downloading {escape(model)}: {done / 1e6:.0f}{of} MB")

        detector = load_detector(model, device=device, cache_dir=cache_dir, progress=progress)
    return detector if sides is None else detector.with_sizes(*sides)


def _tell_unknown(unknown: Sequence[str], classes: int) -> None:
    """Warn of classes in the ground truth that the model has not."""
    if unknown:
        err.print(
            f"[yellow]the model has none of {len(unknown)} of the {classes} classes in the ground truth; they are left "
            f"out:[/yellow] {escape(', '.join(unknown))}",
            soft_wrap=True,
        )


def _counted(samples: Samples, progress: Progress) -> Iterator[Sample]:
    """Yield the samples, move the bar when each is done with, and say what is left to do after the last."""
    (task,) = progress.task_ids
    for sample in samples:
        yield sample
        progress.advance(task)
    progress.update(task, description="scoring")


@contextmanager
def _bar(images: int) -> Iterator[Progress]:
    """Show how far it is and how long it will take."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as progress:
        progress.add_task("evaluating", total=images)
        yield progress
