"""The environment of a measurement: source, machine, versions, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import torch

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


def run_environment(device: torch.device) -> dict[str, str | int]:
    """Card, versions, commit, command, time in UTC, load: what a number means nothing without."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "commit": commit(Path(__file__).parent),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "load_average": _load(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cuda": torch.version.cuda or "",
    }


def _program() -> list[str]:
    """`python -m module`, or the name of an installed script."""
    spec = sys.modules["__main__"].__spec__
    return ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _load() -> str:
    """Processes that wanted a CPU over the last 1, 5 and 15 minutes, these threads among them; empty where unknown."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
