"""Which source a number comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

WRITTEN: Final = ("docs", "models/pretrained/evaluation", "**/results/**")
"""Where measurements put what they find, from the tree's top: a run that follows another finds these changed."""


def commit(folder: Path) -> str:
    """The commit of the working tree around a folder; with `+changes` where tracked files differ from it.

    Results that runs have written do not count as changes. Empty where there is no git or no tree of it.
    """
    found = _git(folder, "rev-parse", "HEAD")
    written = [f":(top,exclude,glob){place}" for place in WRITTEN]
    return found + ("+changes" if _git(folder, "status", "--porcelain", "-uno", "--", ":(top)", *written) else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
