"""The command line of a benchmark, run in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture
def run_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function (module, *arguments) that runs a benchmark on the CPU and returns the JSON it writes."""

    def run(module: ModuleType, *arguments: str) -> dict[str, Any]:
        output, threads = tmp_path / "results.json", torch.get_num_threads()
        monkeypatch.setattr(sys, "argv", ["benchmark", "--device", "cpu", *arguments, "--output", str(output)])
        try:
            module.main()
        finally:
            torch.set_num_threads(threads)
        results: dict[str, Any] = json.loads(output.read_text())
        assert {"commit", "date", "device", "torch", "command", "load_average"} <= results.keys()
        return results

    return run
