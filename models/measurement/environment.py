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

RESULTS: Final = ("docs", "models/pretrained/evaluation", "**/results/**")
"""Paths from the top of the tree that measurements write to: the next run finds them changed."""


def commit(folder: Path) -> str:
    """Return the commit of the working tree around a folder, with `+changes` where tracked files differ from it.

    Written results do not count as changes. Empty without git or outside a tree.
    """
    results = [f":(top,exclude,glob){path}" for path in RESULTS]
    changed = _git(folder, "status", "--porcelain", "-uno", "--", ":(top)", *results)
    return _git(folder, "rev-parse", "HEAD") + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


def run_environment(device: torch.device) -> dict[str, str | int]:
    """Device, versions, commit, command, time in UTC and load, for the JSON of every measurement.

    `instructions` are those of the processor that PyTorch uses, such as AVX2: a processor's name may not tell.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*_program(), *map(_without_folders, sys.argv[1:])]),
        "commit": commit(Path(__file__).parent),
        "device": device_name(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load_average": _load(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cuda": torch.version.cuda or "",
    }


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _program() -> list[str]:
    """Return `python -m module`, or the name of an installed script."""
    spec = sys.modules["__main__"].__spec__
    return ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]


def _without_folders(argument: str) -> str:
    """Replace an absolute path, also in `--option=path`, by where it is in the working directory, or by its name."""
    option, equals, value = argument.rpartition("=") if argument.startswith("-") else ("", "", argument)
    path = Path(value)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    return option + equals + str(path.relative_to(here) if path.is_relative_to(here) else path.name)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _load() -> str:
    """Return the load averages over 1, 5 and 15 minutes, own threads included; empty where unknown."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
