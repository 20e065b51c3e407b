"""`act-detr evaluate`: compare attention settings on a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from service.cli.console import err, exit_on_error, load, progress_bar, require
from service.cli.options import CacheOption, DeviceOption, ModelOption, PrecisionOption

if TYPE_CHECKING:
    from models.data.samples import Sample, Samples

MIN_WIDTH: Final = 150
"""Columns of the widest table: a line that wraps is better than a number that is cut."""


def evaluate(
    data: Annotated[
        str, typer.Option(help="Folder in COCO's format, or generated pages: pages or journals[:COUNT[:HEIGHTxWIDTH]].")
    ],
    model: ModelOption = "pages-small",
    attention: Annotated[
        list[str] | None,
        typer.Option(
            help="Attention setting, such as exact, act, act:L=32,r=8, tangent, merge:ratio=0.5; repeatable. An L, r, "
            "C or ratio that is left out is the model's own. Default: exact and act."
        ),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO annotation file, where the folder holds several or none.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of images, the first ones.")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="SHORT[:LONG]", help="Sides to resize images to, in pixels, instead of the model's own."),
    ] = None,
    nms: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Apply per-class NMS at this IoU before scoring.")
    ] = None,
    no_box_refinement: Annotated[
        bool, typer.Option("--no-box-refinement", help="Leave out the model's box refinement.")
    ] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; 1 makes timings steadier.")] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON file to write results and their environment to.")
    ] = None,
    mistakes: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="SHEET.png",
            help="Picture file for the images with the most mistakes of the first setting: labels on the left, "
            "detections on the right.",
        ),
    ] = None,
    vouch: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write the model to this .safetensors file, with those of the settings that lose at most 0.2 points "
            "of AP against exact attention for attention=auto to choose from.",
        ),
    ] = None,
    cache_dir: CacheOption = None,
) -> None:
    """Compare precision, cost and speed of attention settings on one data set, image by image."""
    require("evaluate", "faster_coco_eval")
    import torch

    from models.data.open_samples import open_samples, unknown_classes
    from models.evaluation.evaluate import evaluate as run_evaluation
    from models.evaluation.mistake_sheet import mistake_sheet
    from models.evaluation.report import as_json, tables
    from models.evaluation.vouching import vouched_attention, write_vouching_model
    from models.measurement.results import write_results

    if threads is not None:
        torch.set_num_threads(threads)
    with exit_on_error(2):
        for file in filter(None, (output, mistakes)):
            if not file.parent.is_dir():
                raise ValueError(f"there is no folder {file.parent} to write {file.name} into")
        if mistakes is not None and mistakes.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise ValueError(f"--mistakes takes the path of a .png or .jpg file, not {mistakes}")
        if vouch is not None:
            _check_vouching(vouch, attention or (), size is not None or no_box_refinement)
        sides = None if size is None else _sides(size)
        samples = open_samples(data, annotations, limit)
        _warn(*samples.notices.lines())
        detector = load(model, device, cache_dir, precision)
        if sides is not None:
            detector = detector.with_sizes(*sides)
        if no_box_refinement:
            detector = detector.without_box_refinement()
        settings = [detector.config.attention(text) for text in attention or ("exact", "act")]
        _warn_of_unknown(unknown_classes(samples.classes, detector.labels), len(samples.classes))
    with exit_on_error(1):
        with _bar(len(samples)) as progress:
            evaluations = run_evaluation(detector, _counted(samples, progress), settings, nms=nms)
        write_results(output, as_json(evaluations, detector, model, samples))
        out = Console(width=max(err.width, MIN_WIDTH))
        for table in tables(evaluations):
            out.print(table)
        if mistakes is not None:
            mistake_sheet(samples, evaluations[0], detector.labels).save(mistakes)
            out.print(f"{mistakes}: labels and detections of the images with the most mistakes", soft_wrap=True)
        if vouch is not None:
            vouched = vouched_attention(evaluations)
            write_vouching_model(vouch, model, vouched, cache_dir)
            settings_text = ", ".join(one.setting for one in vouched) or "no approximate attention"
            out.print(f"{vouch} vouches for {settings_text}", soft_wrap=True, markup=False, highlight=False)


def _check_vouching(path: Path, attention: Sequence[str], changed: bool) -> None:
    """Raise ValueError where `--vouch` cannot mean anything; before the evaluation, which takes long."""
    if path.suffix != ".safetensors" or not path.parent.is_dir():
        raise ValueError(f"--vouch takes the path of a .safetensors file in a folder that exists, not {path}")
    if changed:
        raise ValueError("--vouch is about the model as it is served: not with --size or --no-box-refinement")
    if attention and "exact" not in attention:
        raise ValueError("--vouch needs --attention exact among the settings: the others are compared with it")


def _sides(size: str) -> tuple[int, int | None]:
    """Parse `SHORT` or `SHORT:LONG`. Raises ValueError."""
    short, colon, long = size.partition(":")
    if not short.isdecimal() or (colon and not long.isdecimal()) or int(short) < 1 or (long and int(long) < int(short)):
        raise ValueError(f"--size is SHORT or SHORT:LONG in pixels, the second no less than the first, not {size}")
    return int(short), int(long) if long else None


def _warn(*lines: str) -> None:
    for line in lines:
        err.print(f"[yellow]{escape(line)}[/yellow]", soft_wrap=True)


def _warn_of_unknown(unknown: Sequence[str], classes: int) -> None:
    """Warn of classes in the ground truth that the model does not have."""
    if unknown:
        names = ", ".join(unknown)
        _warn(f"the model does not have {len(unknown)} of the {classes} classes in the ground truth, left out: {names}")


def _counted(samples: Samples, progress: Progress) -> Iterator[Sample]:
    """Yield the samples, advance the bar after each, and announce the scoring after the last."""
    (task,) = progress.task_ids
    for sample in samples:
        yield sample
        progress.advance(task)
    progress.update(task, description="scoring")


@contextmanager
def _bar(images: int) -> Iterator[Progress]:
    """Show the number of images done and the time left."""
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
