"""`act-detr detect --output`, killed with SIGKILL in the middle and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json"])
def test_a_killed_run_goes_on_where_it_stopped(
    start: Any, detector: Any, encoded: Callable[..., bytes], tmp_path: Path, wait_until: Callable[..., None], name: str
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(30):
        (folder / f"{index:02}.png").write_bytes(encoded(seed=index))
    output = tmp_path / name
    journal = output if name == "out.jsonl" else tmp_path / f"{name}.journal"

    def lines() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    with start() as server:
        command = [sys.executable, "-m", "service.cli.main", "detect", str(folder), "--output", str(output)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ACT_DETR_")}
        options: dict[str, Any] = {
            "env": environment | {"PYTHONPATH": str(ROOT), "NO_PROXY": "*"},
            "stderr": subprocess.PIPE,
            "text": True,
        }
        remote = [*command, "--url", f"http://127.0.0.1:{server.port}", "--concurrency", "2"]
        running = subprocess.Popen(remote, **options)
        predict = detector.predict

        def held_up_after_some(*arguments: Any, **named: Any) -> Any:
            if detector.entered >= 11:
                detector.gate.clear()
            return predict(*arguments, **named)

        detector.predict = held_up_after_some
        wait_until(lambda: lines() >= 5)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=30)
        assert running.returncode == -signal.SIGKILL
        detector.predict = predict
        detector.gate.set()
        server.eventually(server.idle)
        kept, ran = lines(), detector.entered
        assert 5 <= kept <= 12
        with journal.open("ab") as torn:  # what is left where the kill falls into the writing of a line
            torn.write(journal.read_bytes()[:37])
        again = subprocess.run(remote, check=False, timeout=60, **options)
    assert again.returncode == 0, again.stderr
    assert f"30 files: {kept} done before, {30 - kept} detected, 0 failed" in again.stderr
    assert detector.entered == ran + 30 - kept
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["file"] for row in rows) == sorted(map(str, folder.iterdir()))
    if name == "out.json":
        assert {row["image_id"] for row in json.loads(output.read_text(encoding="utf-8"))} == set(range(30))
    if name == "out.csv":
        files = [line.partition(",")[0] for line in output.read_text(encoding="utf-8").splitlines()]
        assert set(files) == {"file", *map(str, folder.iterdir())}
