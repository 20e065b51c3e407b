"""The command line: act-detr serve | detect FILE... | models | download MODEL | evaluate | train | tune | export.

Only the commands that run a model import it: torch takes seconds to load.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

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

from service.cli.console import err, error_text, exit_on_error, fail, load, progress_bar, reason
from service.cli.evaluate import evaluate
from service.cli.export import export
from service.cli.options import MODEL_HELP, CacheOption, DeviceOption, ModelOption
from service.cli.train import train
from service.cli.tune import tune
from service.settings import Settings

if TYPE_CHECKING:
    from models.detections import Detections, Prediction
    from models.detector import Detector
    from service.detection_options import DetectionOptions
    from service.http.schemas import Attention
    from service.pipeline import PreparedTiles

app = typer.Typer(
    name="act-detr",
    help="Detect objects with a DETR whose encoder runs exact, ACT or tangent attention.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_out = Console()
_DEFAULTS: Final = Settings.model_construct()
"""The settings' own defaults, whatever the environment says."""


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 uses a free one.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help=MODEL_HELP)] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text.")] = None,
) -> None:
    """Start the HTTP service. All other settings come from ACT_DETR_* variables; options override them."""
    from service.__main__ import serve as run

    raise typer.Exit(run(host=host, port=port, model=model, device=device, log_format=log_format))


@app.command()
def detect(
    files: Annotated[list[Path], typer.Argument(help="Image files.", metavar="FILE...")],
    model: ModelOption = "pages-small",
    attention: Annotated[
        Literal["exact", "act", "tangent", "auto"],
        typer.Option(envvar="ACT_DETR_ATTENTION", help="Attention mode."),
    ] = _DEFAULTS.attention,
    rounds: Annotated[int | None, typer.Option("-L", min=1, max=64, help="ACT's hash rounds.")] = None,
    width: Annotated[float | None, typer.Option("-r", help="ACT's bucket width; greater than 0.")] = None,
    clusters: Annotated[int | None, typer.Option("-C", min=1, max=4096, help="Tangent's clusters per head.")] = None,
    metric: Annotated[
        Literal["query", "key"] | None,
        typer.Option(
            show_default="query where -r is given, else the model's",
            help="ACT's and tangent's distance between queries, in whose units -r is.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(show_default="the model's own", help="Shortest side in pixels that images are resized to."),
    ] = None,
    tiles: Annotated[
        str | None,
        typer.Option(metavar="ROWSxCOLUMNS|auto", help="Cut long or huge images into tiles; default: not."),
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Minimum score.")] = _DEFAULTS.threshold,
    max_detections: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Maximum number of detections per image.")
    ] = _DEFAULTS.max_detections,
    nms: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            show_default="the model's own",
            help="Drop a detection whose IoU with a better one of its class is greater; 1 drops none.",
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Classes to keep, comma-separated.")] = None,
    masks: Annotated[
        Literal["rle", "polygons"] | None,
        typer.Option(help="Give masks too, in COCO's form with --json, drawn with --save; of models that have them."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for copies of the images with boxes drawn.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per file.")] = False,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Detect objects in image files. A bad file does not stop the others; the exit status is then 1."""
    from service.detection_options import DetectionDefaults, DetectQuery, resolve_options
    from service.errors import ServiceError
    from service.http.schemas import Attention

    with exit_on_error(1):
        detector = load(model, device, cache_dir)
    try:
        query = DetectQuery(
            attention=attention,
            L=rounds,
            r=width,
            C=clusters,
            metric=metric,
            size=size,
            tiles=tiles,
            threshold=threshold,
            max_detections=max_detections,
            nms=nms,
            labels=[labels] if labels else [],
            masks=masks,
        )
        options = resolve_options(query, DetectionDefaults.of(_DEFAULTS, detector), 0.0)
        if options.attention is None:
            detector.measure_attention(cache_dir)
    except (ServiceError, ValueError) as error:
        fail(reason(error), 2)
    failed = 0
    columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        bar = progress.add_task("files", total=len(files))
        for file in files:
            try:
                prepared, prediction, detections = _detect_file(detector, file, options, save)
            except (ServiceError, OSError) as error:
                failed += 1
                err.print(f"[red]{escape(str(file))}:[/red] {escape(error_text(error))}", soft_wrap=True)
            else:
                attention_ran = Attention.of(prediction.attention, prepared.tasks[0].reason)
                _show(file, prepared, attention_ran, detections, options if as_json else None)
            progress.advance(bar)
    raise typer.Exit(1 if failed else 0)


@app.command()
def models(cache_dir: CacheOption = None) -> None:
    """List the models that have a name, and those of the Hugging Face hub that are in its cache."""
    from models.weights import EMBEDDED, PUBLISHED, cached_path, embedded_path, kept_models

    table = Table("name", "size", "where")
    for name in EMBEDDED:
        with exit_on_error(1), embedded_path(name) as path:
            table.add_row(name, f"{path.stat().st_size / 1e6:.0f} MB", "embedded")
    for name, checkpoint in PUBLISHED.items():
        cached = cached_path(name, cache_dir)
        table.add_row(name, f"{checkpoint.megabytes} MB", str(cached) if cached else f"act-detr download {name}")
    with exit_on_error(1):
        for kept in kept_models():
            table.add_row(str(kept.model), f"{kept.size / 1e6:.0f} MB", escape(str(kept.folder)))
    _out.print(table)
    _out.print("any DETR of the Hugging Face hub: act-detr download ORG/NAME", style="dim")


@app.command()
def download(
    model: Annotated[str, typer.Argument(help="A published model, or ORG/NAME[@REVISION] of the Hugging Face hub.")],
    cache_dir: CacheOption = None,
) -> None:
    """Download a published checkpoint into the cache folder, or a model of the hub into the hub's. Checks digests."""
    from models.weights import WeightsError, fetch

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err) as progress:
            task = progress.add_task(escape(model), total=None)
            path = fetch(model, cache_dir, lambda done, total: progress.update(task, completed=done, total=total))
    except WeightsError as error:
        fail(str(error), 1)
    print(path)


def _detect_file(
    detector: Detector, file: Path, options: DetectionOptions, save: Path | None
) -> tuple[PreparedTiles, Prediction, Detections]:
    from service.images.drawing import draw_detections
    from service.images.image_decoding import decode_file
    from service.pipeline import detect

    image = decode_file(file)
    prepared, prediction, detections = detect(detector, image, options)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        drawn = draw_detections(image, detections, tuple(detector.labels), detections.masks or ())
        (save / f"{file.name}.png").write_bytes(drawn)
    return prepared, prediction, detections


def _show(
    file: Path, prepared: PreparedTiles, attention: Attention, detections: Detections, json_of: DetectionOptions | None
) -> None:
    """Print a table, or a line of JSON as the options say."""
    from service.http.schemas import ResizedTo, TileGrid, detection_rows
    from service.pipeline import encoded_masks

    masks = encoded_masks(detections, json_of) if json_of else None
    rows, tiling, resized = detection_rows(detections, masks), prepared.tiling, prepared.resized
    if json_of:
        answer = {
            "file": str(file),
            "detections": [row.model_dump() for row in rows],
            "resized": ResizedTo(width=resized[1], height=resized[0]).model_dump(),
            "tiles": TileGrid(rows=tiling.rows, columns=tiling.columns).model_dump(),
            "attention": attention.model_dump(),
        }
        print(json.dumps(answer, ensure_ascii=False))
        return
    table = Table("label", "score", "xmin", "ymin", "xmax", "ymax", title=escape(str(file)), title_justify="left")
    for row in rows:
        corners = (row.box.xmin, row.box.ymin, row.box.xmax, row.box.ymax)
        table.add_row(escape(row.label), f"{row.score:.3f}", *(f"{value:.1f}" for value in corners))
    _out.print(table)
    _out.print(_cost(attention.model_dump(), len(tiling)), style="dim", soft_wrap=True)


def _cost(attention: dict[str, Any], tiles: int) -> str:
    of_tiles = f" in each of {tiles} tiles" if tiles > 1 else ""
    layers = ", ".join(f"{row['mean']:.0f}" for row in attention["clusters"])
    clusters = f"; clusters by layer {layers}" if layers else ""
    return (
        f"{attention['mode']} attention over {attention['tokens']} tokens{of_tiles} ({attention['reason']}){clusters}; "
        f"encoder {attention['encoder_gflops']:.2f} of {attention['exact_encoder_gflops']:.2f} GFLOPs"
    )


for _command in (evaluate, train, tune, export):
    app.command()(_command)


if __name__ == "__main__":
    main()
