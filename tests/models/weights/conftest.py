import os
from collections.abc import Callable
from pathlib import Path

import pytest


class Touch:
    """Loading a pickle of this carelessly creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="session")
def touch() -> Callable[[Path], object]:
    """Return a function that makes an object whose pickle runs code: it creates the file at a path."""
    return Touch
