"""The command line: act-detr serve | detect FILE... | models | download MODEL | evaluate | train | tune | export.

Only the commands that run a model import it: torch takes seconds to load.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.cli.console import err, exit_on_error, fail
from service.cli.detect import detect
from service.cli.evaluate import evaluate
from service.cli.export import export
from service.cli.options import MODEL_HELP, CacheOption
from service.cli.train import train
from service.cli.tune import tune

app = typer.Typer(
    name="act-detr",
    help="Detect objects with a DETR whose encoder runs exact, ACT or tangent attention, or merges tokens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_out = Console()


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


for _command in (detect, evaluate, train, tune, export):
    app.command()(_command)


if __name__ == "__main__":
    main()
