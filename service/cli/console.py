"""What the long commands say on standard error: how far they are, what is missing, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn

TRAINING: Final = "act-detr[train]"
"""What to install for training and evaluation."""

err: Final = Console(stderr=True)


@contextmanager
def progress_bar(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show progress where somebody looks; nothing is left of it afterwards."""
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield progress


@contextmanager
def mistakes(status: int) -> Iterator[None]:
    """Say what went wrong in a red line and leave with `status`: 2 for what was asked, 1 for what was done."""
    from models.weights import WeightsError

    try:
        yield
    except (OSError, ValueError, RuntimeError, WeightsError) as error:
        fail(reason(error), status)


def require(command: str, *packages: str) -> None:
    """Leave with status 1, before anything is done, where a command lacks packages that a plain install leaves out."""
    missing = [package for package in packages if not _installed(package)]
    if missing:
        fail(f"act-detr {command} needs {', '.join(missing)}: pip install '{TRAINING}'", 1)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


def reason(error: Exception) -> str:
    """What a person wants to know of an error: of the system's, what and which file, not its number."""
    file = error.filename if isinstance(error, OSError) else None
    return what(error) if file is None else f"{what(error)}: {file}"


def what(error: Exception) -> str:
    """The reason where the file is known already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def fail(message: str, status: int) -> NoReturn:
    """Print a red line and leave with `status`."""
    err.print(f"[red]{escape(message)}[/red]", soft_wrap=True)
    raise typer.Exit(status)
