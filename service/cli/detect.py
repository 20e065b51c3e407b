"""`act-detr detect`: objects in image files, by a detector of this process or by a service."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from service.cli.console import exit_on_refusal
from service.cli.options import CacheOption, DeviceOption, ModelOption
from service.settings import Settings

_DEFAULTS: Final = Settings.model_construct()
"""The settings' own defaults, whatever the environment says."""
_OF_A_DETECTOR: Final = {"model": "--model", "device": "--device", "cache_dir": "--cache-dir"}
_OF_A_SERVICE: Final = {"api_key": "--api-key", "concurrency": "--concurrency"}


def detect(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Image files, and folders of them.", metavar="FILE...")],
    model: ModelOption = "pages-small",
    url: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Let the service at this address detect; its defaults hold then."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="ACT_DETR_API_KEY", show_envvar=True, help="Key of the service at --url.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests to --url that are under way.")] = 8,
    attention: Annotated[
        Literal["exact", "act", "tangent", "merge", "auto"] | None,
        typer.Option(envvar="ACT_DETR_ATTENTION", show_default=_DEFAULTS.attention, help="Attention mode."),
    ] = None,
    rounds: Annotated[int | None, typer.Option("-L", min=1, max=64, help="ACT's hash rounds.")] = None,
    width: Annotated[float | None, typer.Option("-r", help="ACT's bucket width; greater than 0.")] = None,
    clusters: Annotated[
        int | None, typer.Option("-C", min=1, max=4096, help="Clusters per head, of tangent or merge.")
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(min=0, max=0.75, show_default="the model's", help="Share of the tokens that merge merges."),
    ] = None,
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
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, show_default=str(_DEFAULTS.threshold), help="Minimum score.")
    ] = None,
    max_detections: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            show_default=str(_DEFAULTS.max_detections),
            help="Maximum number of detections per image.",
        ),
    ] = None,
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
    output: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="File for the results. The same command again goes on where an earlier one stopped."
        ),
    ] = None,
    output_format: Annotated[
        Literal["jsonl", "coco", "csv", "label-studio"] | None,
        typer.Option(
            "--format",
            show_default="by the ending of --output",
            help="Format of --output: a line of JSON per file, COCO's results, a row per detection, or Label Studio's "
            "tasks.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Detect objects in image files. A bad file does not stop the others; the exit status is then 1."""
    given = {
        "attention": attention,
        "L": rounds,
        "r": width,
        "C": clusters,
        "ratio": ratio,
        "metric": metric,
        "size": size,
        "tiles": tiles,
        "threshold": threshold,
        "max_detections": max_detections,
        "nms": nms,
        "labels": labels,
        "masks": masks,
    }
    from service.cli.detection_run import DetectionRun
    from service.cli.found_images import found_images
    from service.cli.output_file import OutputFile
    from service.client.options import query_of

    with exit_on_refusal():
        _refuse_misplaced(context, remote=url is not None)
        options = query_of(given)
        target = None if output is None else OutputFile(output, output_format)
        found = found_images(files)
        if url is None:
            from service.cli.local_detection import local_source

            source = local_source(model, device, cache_dir, options)
        else:
            from service.cli.remote_detection import remote_source

            source = remote_source(url, api_key, concurrency, options)
        journal = None if target is None else target.journal(source.model, options)
    run = DetectionRun(source, save=save, as_json=as_json, journal=journal)
    with exit_on_refusal(), journal or nullcontext():
        status = run.detect(found)
        if target is not None and journal is not None:
            target.finish(journal, source.categories)
    raise typer.Exit(status)


def _refuse_misplaced(context: typer.Context, *, remote: bool) -> None:
    """Refuse options on the command line that would have no effect; the environment may be meant for others."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    misplaced = [option for name, option in (_OF_A_DETECTOR if remote else _OF_A_SERVICE).items() if name in given]
    if misplaced:
        raise ValueError(f"{misplaced[0]} {'cannot be combined with' if remote else 'needs'} --url")
    if "output_format" in given and "output" not in given:
        raise ValueError("--format needs --output")
