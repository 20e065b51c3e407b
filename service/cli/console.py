"""Progress, warnings and errors of the commands, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn

if TYPE_CHECKING:
    from models.detector import Detector

err: Final = Console(stderr=True)


@contextmanager
def progress_bar(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show progress on a terminal; clear it at the end."""
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield progress


def load(model: str, device: str, cache_dir: Path | None, precision: str = "auto") -> Detector:
    """Load a detector and show a download's progress. Raises what `load_detector` raises."""
    from models.allocator import keep_freed_memory
    from models.detector import load_detector

    keep_freed_memory()
    with loading(model) as (progress, _):
        return load_detector(model, device=device, precision=precision, cache_dir=cache_dir, progress=progress)


@contextmanager
def loading(model: str) -> Iterator[tuple[Callable[[int, int | None], None], Callable[[str], None]]]:
    """Say that a model is loaded. Yields what shows a download's bytes so far and in all, and what says otherwise."""
    with err.status(f"loading {escape(model)}") as status:

        def downloading(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.0f}" if total else ""
            status.update(f"downloading {escape(model)}: {done / 1e6:.0f}{of} MB")

        yield downloading, status.update


@contextmanager
def exit_on_error(status: int) -> Iterator[None]:
    """Print an error as a red line and exit with `status`: 2 for bad input, 1 for a failure while running."""
    from models.weights import WeightsError

    try:
        yield
    except (OSError, ValueError, RuntimeError, WeightsError) as error:
        fail(reason(error), status)


@contextmanager
def exit_on_refusal() -> Iterator[None]:
    """Print an error as a red line and exit with 2 for bad input, 1 for a refusal of a service or the system.

    Unlike `exit_on_error`, it does without the library of models.
    """
    from service.errors import BadParameter, ServiceError

    try:
        yield
    except (BadParameter, ValueError) as error:
        fail(str(error), 2)
    except (ServiceError, OSError) as error:
        fail(reason(error), 1)


def require(command: str, *packages: str) -> None:
    """Exit with status 1 if packages are missing that the command needs and a plain installation lacks."""
    missing = [package for package in packages if not _installed(package)]
    if missing:
        fail(f"{command} needs {', '.join(missing)}: run pip install '.[train]' in a checkout of the repository", 1)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


def reason(error: Exception) -> str:
    """Return an error's message for people, with the file that a system error is about."""
    file = error.filename if isinstance(error, OSError) else None
    return error_text(error) if file is None else f"{error_text(error)}: {file}"


def error_text(error: Exception) -> str:
    """Return an error's message for people: a system error's without its number and file."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def fail(message: str, status: int) -> NoReturn:
    """Print a red line and exit with `status`."""
    err.print(f"[red]{escape(message)}[/red]", soft_wrap=True)
    raise typer.Exit(status)
