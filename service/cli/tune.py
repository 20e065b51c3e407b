"""`act-detr tune`: propose a setting of approximate attention for a model and a user's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.cli.console import exit_on_error, progress_bar

if TYPE_CHECKING:
    from models.detector import Detector
    from models.preprocess import PreparedImage
    from models.tuning.tune import Candidate

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_out = Console()


def tune(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images like those to serve.")],
    model: Annotated[
        str, typer.Option("--model", "-m", envvar="ACT_DETR_MODEL", help="Name, file or folder of a model.")
    ] = "pages-small",
    max_drift: Annotated[
        float | None, typer.Option(min=0, help="Pixels that the edges of boxes may move against exact attention.")
    ] = None,
    statistic: Annotated[
        Literal["mean", "p95"], typer.Option(help="What --max-drift is about: mean or 95th percentile of the boxes.")
    ] = "p95",
    epsilon: Annotated[
        float | None, typer.Option(help="Distance from which on queries are to be kept apart, in the metric's units.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="How surely --epsilon keeps them apart, between 0 and 1.")] = 0.95,
    mode: Annotated[Literal["act", "tangent"], typer.Option(help="What to tune.")] = "act",
    metric: Annotated[
        Literal["query", "key"] | None, typer.Option(help="How queries are compared: ACT's query, tangent's key.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Images to measure on, the first by name.")] = 8,
    device: Annotated[str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
    cache_dir: Annotated[
        Path | None, typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder of downloaded checkpoints.")
    ] = None,
) -> None:
    """Measure what settings cost, save and move, and recommend one; exit status 1 where none meets the wish."""
    from models.tuning.tune import bounded_settings, measured_settings, recommended
    from models.tuning.tune import tune as measure

    with exit_on_error(2):
        if epsilon is None and max_drift is None:
            raise ValueError("say what is tolerable: --max-drift in pixels, or --epsilon with --confidence")
        if epsilon is not None and mode == "tangent":
            raise ValueError("--epsilon is about hashing: tangent attention has --max-drift alone")
        chosen = metric or ("query" if mode == "act" else "key")
        bounded = list(bounded_settings(epsilon, confidence, chosen)) if epsilon is not None else None
        files = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES)[:limit]
        if not files:
            raise ValueError(f"there are no images in {images}")
    with exit_on_error(1):
        from models.detector import load_detector

        detector = load_detector(model, device=device, cache_dir=cache_dir)
        prepared = _prepared(detector, files)
        settings = bounded or list(measured_settings(detector, prepared, mode, chosen))
        with _bar(len(prepared)) as progress:
            found = measure(detector, prepared, settings, epsilon, lambda: progress.advance(progress.task_ids[0]))
        best = recommended(found, max_drift, statistic)
        _show(found, best, epsilon)
        if best is None:
            least = min((one.drift(statistic) for one in found if one.attention_saved > 0), default=None)
            wish = "" if max_drift is None else f" and moves boxes by at most {max_drift:g} px ({statistic})"
            nearest = "" if least is None else f"; of those that save, the nearest moves them by {least:.2f} px"
            raise ValueError(f"no setting of {mode} saves multiply-adds{wish}{nearest}: exact attention it is")
    _out.print(_advice(best), soft_wrap=True, highlight=False)


def _prepared(detector: Detector, files: Sequence[Path]) -> list[PreparedImage]:
    from service.errors import ServiceError
    from service.images.image_decoding import decode_image

    images = []
    for file in files:
        try:
            images.append(detector.preprocess(decode_image(file.read_bytes(), max_bytes=2**31, max_pixels=89_478_485)))
        except ServiceError as error:
            raise ValueError(f"{file}: {error}") from error
    return images


def _show(found: Sequence[Candidate], best: Candidate | None, epsilon: float | None) -> None:
    columns = ["attention", "C/N", "attention saved", "encoder saved", "drift mean, px", "drift p95, px"]
    if epsilon is not None:
        columns += [f"sharing at {epsilon:g}, bound", "beyond it, measured"]
    table = Table(*columns)
    for one in found:
        cells = [
            str(one.attention),
            f"{one.cluster_ratio:.3f}",
            f"{one.attention_saved:.0%}",
            f"{one.encoder_saved:.0%}",
            f"{one.drift_mean:.2f}",
            f"{one.drift_p95:.2f}",
        ]
        if epsilon is not None:
            cells += [
                "-" if value is None else f"{value:.4f}" for value in (one.predicted_sharing, one.measured_sharing)
            ]
        table.add_row(*cells, style="bold green" if one is best else None)
    Console(width=max(_out.width, 110)).print(table)


def _advice(best: Candidate) -> str:
    return (
        f"recommended: {best.attention}: saves {best.attention_saved:.0%} of attention's multiply-adds and "
        f"{best.encoder_saved:.0%} of the encoder's, with {best.cluster_ratio:.1%} as many clusters as tokens; "
        f"boxes move by {best.drift_mean:.2f} px in the mean, 95 % of them by less than {best.drift_p95:.2f} px"
    )


@contextmanager
def _bar(images: int) -> Iterator[Progress]:
    """Show how far it is."""
    with progress_bar(TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        progress.add_task("images", total=images)
        yield progress
