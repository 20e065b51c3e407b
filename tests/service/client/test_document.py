"""The examples of docs/client.md run as they are printed, on a server with the embedded model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import load_detector
from models.data.pages import render_page

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OUTPUTS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def without_digits_that_round(text: str) -> str:
    return re.sub(r"(\d\.\d)\d+", r"\1", text)


@pytest.mark.slow
def test_examples_run_and_print_what_the_page_says(
    run_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "page.jpg").write_bytes((ROOT / "models" / "pretrained" / "sample-page.jpg").read_bytes())
    (tmp_path / "scans" / "notes.png").write_text("not an image")
    for seed in range(3):
        render_page(seed, 800, 600).image.save(tmp_path / "scans" / f"{seed:03}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    printed = []
    with run_server(load_detector(device="cpu"), attention="exact") as server:
        for example in EXAMPLES:
            exec(example.replace(":8000", f":{server.port}"), {})
            printed.append(capsys.readouterr().out)
    one, many_async, errors, retries, many = printed
    assert [errors, many] == OUTPUTS[1:]
    assert without_digits_that_round(one) == without_digits_that_round(OUTPUTS[0])
    assert sorted(many_async.splitlines()) == ["000.png 11", "001.png 1", "002.png 3", "notes.png failed"]
    assert retries == ""
