"""`act-detr reproduce`: the paper's claims and the project's own, measured on a model, as JSON, tables and plots."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service.cli.console import exit_on_error, progress_bar, require

_out = Console()


def reproduce(
    model: Annotated[
        str, typer.Option("--model", "-m", envvar="ACT_DETR_MODEL", help="Name, file or folder of a model.")
    ] = "pages-small",
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for JSON, tables and plots; what is there is not run again.")
    ] = Path("docs/reproduction"),
    pages: Annotated[int, typer.Option(min=1, help="Images at the model's own size; fewer at larger ones.")] = 100,
    data: Annotated[str | None, typer.Option(help="Folder in COCO's format, instead of generated pages.")] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Shortest sides of the trade-off in pixels, comma-separated, 352-dense for four times the tokens; "
            "else the model's own, that with more tokens, and a larger one."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Hash seeds and K-means starts.")] = 3,
    distilled: Annotated[
        str | None,
        typer.Option(help="File or folder of the same model after MTKD: its trade-off, at many tokens a short one."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few images and settings: minutes, to see that it runs.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            help="One part, or all whose name begins so: diversity, redundancy, sharing, output-error, layer-clusters, "
            "published-size, tradeoff-352, ..."
        ),
    ] = None,
    plots_only: Annotated[
        bool, typer.Option("--plots-only", help="Make tables and plots from the JSON that is there; no model runs.")
    ] = False,
    device: Annotated[str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder of downloaded checkpoints.")
    ] = None,
) -> None:
    """Measure what ACT, K-means and tangent attention cost, save and lose; part by part, resumable."""
    require("reproduce", *(("matplotlib",) if plots_only else ("faster_coco_eval", "matplotlib", "scipy")))
    import torch

    from models.reproduction.reproduce import Plan, Resolution, digest, run

    if threads is not None:
        torch.set_num_threads(threads)
    if not plots_only:
        with exit_on_error(2):
            wanted = tuple(map(Resolution.parse, sizes.split(","))) if sizes is not None else ()
        with exit_on_error(1):
            from models.detector import load_detector
            from models.reproduction.reproduce_parts import parts

            detector = load_detector(model, device=device, cache_dir=cache_dir)
            second = load_detector(distilled, device=device, cache_dir=cache_dir) if distilled else None
        plan = Plan(detector.config.shortest_side, pages, data, wanted, seeds)
        identity = {"name": detector.name, "sha256": digest(detector)}
        command = " ".join(["act-detr", "reproduce", *sys.argv[2:]])
        with exit_on_error(1), _bar() as show:
            chosen = list(parts(plan.quickly() if quick else plan, detector, second, show))
            names = [part.name for part in chosen]
            begins = [part for part in chosen if only is None or part.name.startswith(only)]
            chosen = [part for part in chosen if part.name == only] or begins
            if not chosen:
                raise ValueError(f"no part's name begins with {only}; there are: {', '.join(names)}")
            done = run(chosen, identity, output, command, show, detector.device)
        _out.print(f"measured: {', '.join(done) or 'nothing'}; {len(chosen) - len(done)} parts were there already")
    with exit_on_error(1):
        _draw(output)


def _draw(output: Path) -> None:
    from models.reproduction.reproduction_plots import write_plots
    from models.reproduction.reproduction_tables import write_tables

    if not any(output.glob("*.json")):
        raise ValueError(f"there is no JSON in {output} to make tables and plots of")
    for file in (write_tables(output), *write_plots(output)):
        _out.print(escape(str(file)), soft_wrap=True, highlight=False)


@contextmanager
def _bar() -> Iterator[_Show]:
    """Show the part that runs and how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_bar(*columns) as progress:
        yield _Show(progress)


class _Show:
    """Moves a bar that starts anew with every part."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("")

    def __call__(self, part: str, done: int, total: int) -> None:
        if done == total == 0:
            self.progress.reset(self.task)
        self.progress.update(self.task, description=part, completed=done, total=total or None)
