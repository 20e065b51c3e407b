"""The command line: act-detr serve | detect FILE... | models | download NAME | evaluate | train | tune.

The model is imported by the commands that need it alone: torch takes seconds to load.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from service.cli.console import err, error_text, exit_on_error, fail, load, reason
from service.cli.evaluate import evaluate
from service.cli.train import train
from service.cli.tune import tune

if TYPE_CHECKING:
    from models.detections import Detections, Prediction
    from models.detector import Detector
    from service.http.detection_options import Defaults

app = typer.Typer(
    name="act-detr",
    help="Detect objects with a DETR whose encoder runs exact, ACT or tangent attention.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console()

ModelOption = Annotated[
    str, typer.Option("--model", "-m", envvar="ACT_DETR_MODEL", help="Name, file or folder of a model.")
]
DeviceOption = Annotated[str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.")]
CacheOption = Annotated[
    Path | None, typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder of downloaded checkpoints.")
]


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Name, file or folder of a model.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text.")] = None,
) -> None:
    """Start the HTTP service. Every other setting comes from ACT_DETR_* variables; options win."""
    from service.__main__ import serve as run

    raise typer.Exit(run(host=host, port=port, model=model, device=device, log_format=log_format))


@app.command()
def detect(
    files: Annotated[list[Path], typer.Argument(help="Images.", metavar="FILE...")],
    model: ModelOption = "pages-small",
    attention: Annotated[
        Literal["exact", "act", "tangent", "auto"], typer.Option(envvar="ACT_DETR_ATTENTION", help="Encoder attention.")
    ] = "exact",
    rounds: Annotated[int | None, typer.Option("-L", min=1, max=64, help="ACT's hash rounds.")] = None,
    width: Annotated[float | None, typer.Option("-r", help="ACT's bucket width, above 0.")] = None,
    clusters: Annotated[int | None, typer.Option("-C", min=1, max=4096, help="Tangent attention's clusters.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least score.")] = 0.5,
    max_detections: Annotated[int, typer.Option(min=1, help="Most detections of an image.")] = 100,
    nms: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            show_default="the model's own",
            help="Drop what overlaps a better one of its class by a greater IoU; 1 drops none.",
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Classes to keep, comma-separated.")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for images with their boxes drawn.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file, a line each.")] = False,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Detect objects in image files. A bad file fails alone; the exit status is then 1."""
    from service.errors import ServiceError
    from service.http.detection_options import wish
    from service.http.schemas import DetectQuery

    with exit_on_error(1):
        detector = load(model, device, cache_dir)
    try:
        options = {"L": rounds, "r": width, "C": clusters, "labels": [labels] if labels else []}
        shown = {"threshold": threshold, "max_detections": max_detections, "nms": nms}
        query = DetectQuery(attention=attention, **options).model_copy(update=shown)
        wanted = wish(query, _defaults(detector), 0.0)
    except (ServiceError, ValueError) as error:
        fail(reason(error), 2)
    failed = 0
    with _bar(len(files)) as progress:
        for file in files:
            try:
                prediction, detections = _detect_file(detector, file, wanted, save)
            except (ServiceError, OSError) as error:
                failed += 1
                err.print(f"[red]{escape(str(file))}:[/red] {escape(error_text(error))}", soft_wrap=True)
            else:
                _show(file, prediction, detections, as_json)
            progress.advance(progress.task_ids[0])
    raise typer.Exit(1 if failed else 0)


@app.command()
def models(cache_dir: CacheOption = None) -> None:
    """List the models that have a name."""
    from models.weights import PUBLISHED, cached_path
    from models.weights.resolve import EMBEDDED

    table = Table("name", "size", "where")
    for name in EMBEDDED:
        table.add_row(name, "", "embedded")
    for name, checkpoint in PUBLISHED.items():
        path = cached_path(name, cache_dir)
        table.add_row(name, f"{checkpoint.megabytes} MB", str(path) if path else f"act-detr download {name}")
    _out.print(table)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A published model; see `act-detr models`.")],
    cache_dir: CacheOption = None,
) -> None:
    """Fetch a published checkpoint into the cache folder; resumes, and checks its sha256."""
    from models.weights import WeightsError
    from models.weights import download as fetch

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err) as progress:
            task = progress.add_task(name, total=None)
            path = fetch(name, cache_dir, lambda done, total: progress.update(task, completed=done, total=total))
    except WeightsError as error:
        fail(str(error), 1)
    print(path)


def _defaults(detector: Detector) -> Defaults:
    from service.http.detection_options import Defaults

    own, labels = detector.config, tuple(detector.labels)
    return Defaults("exact", own.act_L, own.act_r, own.tangent_C, 0.5, 100, own.nms, 1.0, labels)


def _detect_file(detector: Detector, file: Path, wanted: Any, save: Path | None) -> tuple[Prediction, Detections]:
    from models import auto_attention
    from service.images.drawing import draw_detections
    from service.images.image_decoding import decode_image

    image = decode_image(file.read_bytes(), max_bytes=2**31, max_pixels=89_478_485)
    prepared = detector.preprocess(image)
    config = wanted.attention or auto_attention(detector.tokens(prepared), wanted.large)
    prediction = detector.predict([prepared], config, [wanted.threshold])[0]
    detections = prediction.detections.select(wanted.threshold, wanted.max_detections, wanted.labels, wanted.nms)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        (save / f"{file.name}.png").write_bytes(draw_detections(image, detections, tuple(detector.labels)))
    return prediction, detections


def _show(file: Path, prediction: Prediction, detections: Detections, as_json: bool) -> None:
    from service.http.schemas import Attention, detection_rows

    rows = detection_rows(detections)
    attention = Attention.of(prediction.attention)
    if as_json:
        answer = {
            "file": str(file),
            "detections": [row.model_dump() for row in rows],
            "attention": attention.model_dump(),
        }
        print(json.dumps(answer, ensure_ascii=False))
        return
    table = Table("label", "score", "xmin", "ymin", "xmax", "ymax", title=escape(str(file)), title_justify="left")
    for row in rows:
        corners = (row.box.xmin, row.box.ymin, row.box.xmax, row.box.ymax)
        table.add_row(escape(row.label), f"{row.score:.3f}", *(f"{value:.1f}" for value in corners))
    _out.print(table)
    _out.print(_cost(attention.model_dump()), style="dim", soft_wrap=True)


def _cost(attention: dict[str, Any]) -> str:
    layers = ", ".join(f"{row['mean']:.0f}" for row in attention["clusters"])
    clusters = f"; clusters by layer {layers}" if layers else ""
    return (
        f"{attention['mode']} attention over {attention['tokens']} tokens{clusters}; encoder "
        f"{attention['encoder_gflops']:.2f} of {attention['exact_encoder_gflops']:.2f} GFLOPs"
    )


@contextmanager
def _bar(files: int) -> Iterator[Progress]:
    """Show a progress bar on standard error, where there are several files and somebody who looks."""
    quiet = files < 2 or not err.is_terminal
    columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=quiet) as progress:
        progress.add_task("files", total=files)
        yield progress


for _command in (evaluate, train, tune):
    app.command()(_command)


if __name__ == "__main__":
    main()
