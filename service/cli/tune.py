"""`act-detr tune`: recommend an attention setting for a model and a user's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.cli.console import exit_on_error, load, progress_bar
from service.cli.options import CacheOption, DeviceOption, ModelOption

if TYPE_CHECKING:
    from models.detector import Detector
    from models.preprocess import PreparedImage
    from models.tuning.tune import Candidate

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

MIN_WIDTH: Final = 130
"""Columns of the widest table."""

_out = Console()


def tune(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images like those to serve.")],
    model: ModelOption = "pages-small",
    max_drift: Annotated[
        float | None, typer.Option(min=0, help="Maximum distance of box edges from exact attention's, in pixels.")
    ] = None,
    statistic: Annotated[
        Literal["mean", "p95"], typer.Option(help="Statistic that --max-drift limits: mean or 95th percentile.")
    ] = "p95",
    epsilon: Annotated[
        float | None, typer.Option(help="Distance from which on queries are to be kept apart, in the metric's units.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Probability with which --epsilon keeps queries apart, between 0 and 1.")
    ] = 0.95,
    mode: Annotated[Literal["act", "tangent", "merge"], typer.Option(help="Attention mode to tune.")] = "act",
    metric: Annotated[
        Literal["query", "key"] | None,
        typer.Option(help="Distance between queries. Default: query for ACT, key for tangent attention."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of images, the first by name.")] = 8,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Measure the cost and the drift of attention settings, and recommend one. Exit status 1: none is good enough."""
    from models.tuning.tune import bounded_settings, measured_settings, recommended
    from models.tuning.tune import tune as measure

    with exit_on_error(2):
        if epsilon is None and max_drift is None:
            raise ValueError("give a tolerance: --max-drift in pixels, or --epsilon with --confidence")
        if epsilon is not None and mode != "act":
            raise ValueError(f"--epsilon is about hashing; {mode} has only --max-drift")
        if metric is not None and mode == "merge":
            raise ValueError("--metric is about clusters of queries; merge compares tokens")
        metric = metric or ("query" if mode == "act" else "key")
        bounded = list(bounded_settings(epsilon, confidence, metric)) if epsilon is not None else None
        files = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES)[:limit]
        if not files:
            raise ValueError(f"there are no images in {images}")
    with exit_on_error(1):
        detector = load(model, device, cache_dir)
        prepared = _prepared(detector, files)
        settings = bounded or list(measured_settings(detector, prepared, mode, metric))
        with _bar(len(prepared)) as progress:
            candidates = measure(detector, prepared, settings, epsilon, lambda: progress.advance(progress.task_ids[0]))
        best = recommended(candidates, max_drift, statistic)
        _show(candidates, best, epsilon)
        if best is None:
            drifts = [one.drift(statistic) for one in candidates if one.attention_saved > 0]
            limit_text = "" if max_drift is None else f" with a drift of at most {max_drift:g} px ({statistic})"
            nearest = f"; the nearest that saves drifts by {min(drifts):.2f} px" if drifts else ""
            raise ValueError(f"no setting of {mode} saves multiply-adds{limit_text}{nearest}: use exact attention")
    _out.print(_advice(best), soft_wrap=True, highlight=False)


def _prepared(detector: Detector, files: Sequence[Path]) -> list[PreparedImage]:
    from service.errors import ServiceError
    from service.images.image_decoding import decode_file

    images = []
    for file in files:
        try:
            pixels = decode_file(file)
        except ServiceError as error:
            raise ValueError(f"{file}: {error}") from error
        images.append(detector.preprocess(pixels))
    return images


def _show(candidates: Sequence[Candidate], best: Candidate | None, epsilon: float | None) -> None:
    columns = ["attention", "C/N", "attention saved", "encoder saved", "mean drift, px", "p95 drift, px"]
    if epsilon is not None:
        columns += [f"collisions at {epsilon:g}, bound", "beyond, measured"]
    table = Table(*columns)
    for one in candidates:
        cells = [
            str(one.attention),
            f"{one.cluster_ratio:.3f}",
            f"{one.attention_saved:.0%}",
            f"{one.encoder_saved:.0%}",
            f"{one.drift_mean:.2f}",
            f"{one.drift_p95:.2f}",
        ]
        if epsilon is not None:
            collisions = (one.predicted_collisions, one.measured_collisions)
            cells += ["-" if value is None else f"{value:.4f}" for value in collisions]
        table.add_row(*cells, style="bold green" if one is best else None)
    Console(width=max(_out.width, MIN_WIDTH)).print(table)


def _advice(best: Candidate) -> str:
    merges = best.attention.mode == "merge"
    left = "of the tokens left" if merges else "as many clusters as tokens"
    return (
        f"recommended: {best.attention}: saves {best.attention_saved:.0%} of attention's multiply-adds and "
        f"{best.encoder_saved:.0%} of the encoder's, with {best.cluster_ratio:.1%} {left}; "
        f"boxes drift by {best.drift_mean:.2f} px on average, 95 % of them by less than {best.drift_p95:.2f} px"
    )


@contextmanager
def _bar(images: int) -> Iterator[Progress]:
    """Show the number of images done and the time left."""
    with progress_bar(TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        progress.add_task("images", total=images)
        yield progress
