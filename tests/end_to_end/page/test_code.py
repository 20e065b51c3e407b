"""What the web page copies as code: it runs, and gives what is on the screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SHOWN = "#detect-result:not([hidden])"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (apt-get install curl)")


def copied(page: Any, language: str) -> str:
    """Press a button; return what is in the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name=f"Copy as {language}")
    button.click()
    page.get_by_role("button", name="Copied").wait_for()
    text: str = page.evaluate("navigator.clipboard.readText()")
    button.wait_for()
    return text


def output(command: list[str], folder: Path, **environment: str) -> str:
    """Run a command in a folder; return what it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "NO_PROXY": "*", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown_scores(page: Any) -> list[float]:
    return [float(text) for text in page.locator("#list .figure").all_inner_texts()]


@needs_curl
def test_curl_of_a_file_gives_the_detections_on_the_screen(opened: Any, sample: str, tmp_path: Path) -> None:
    path = tmp_path / "it's a page.jpg"
    shutil.copy(sample, path)
    opened.get_by_role("radio", name="tangent").check()
    opened.get_by_role("slider", name="Clusters C").fill("5")
    opened.set_input_files("#file", str(path))
    opened.wait_for_selector(SHOWN)
    command = copied(opened, "curl")
    assert "attention=tangent&C=5'" in command
    answer = json.loads(output(["sh", "-c", command], tmp_path))
    assert [round(found["score"], 3) for found in answer["detections"]] == shown_scores(opened)
    assert answer["attention"]["C"] == 5


@needs_curl
def test_curl_of_a_sample_needs_no_file(opened: Any, tmp_path: Path) -> None:
    opened.get_by_role("button", name="wide page").click()
    opened.wait_for_selector(SHOWN)
    answer = json.loads(output(["sh", "-c", copied(opened, "curl")], tmp_path))
    assert answer["image"] == {"width": 1024, "height": 768}
    assert len(answer["detections"]) == opened.locator("#list li").count()


def test_python_prints_the_detections_on_the_screen(opened: Any, sample: str, tmp_path: Path) -> None:
    path = tmp_path / 'a "page".jpg'
    shutil.copy(sample, path)
    opened.set_input_files("#file", str(path))
    opened.wait_for_selector(SHOWN)
    program = copied(opened, "Python")
    assert "params" not in program  # nothing differs from the defaults
    lines = output([sys.executable, "-c", program], tmp_path).splitlines()
    assert len(lines) == opened.locator("#list li").count()


@needs_curl
@pytest.mark.parametrize("view", ["compare", "explain"])
def test_the_other_views_are_copied_too(
    open_page: Callable[..., Any], start: Callable[..., Any], tmp_path: Path, view: str
) -> None:
    with start(threshold=0.0) as server, open_page(server, f"#view={view}&sample=sample-wide.webp") as page:
        page.wait_for_selector(f"#{view}-result:not([hidden])")
        answer = json.loads(output(["sh", "-c", copied(page, "curl")], tmp_path))
        printed = output([sys.executable, "-c", copied(page, "Python")], tmp_path)
        if view == "compare":
            assert page.locator("#left-boxes g").count() == len(answer["left"]["detections"])
            assert len(printed.splitlines()) == len(answer["pairs"]) + 1
        else:
            point = answer["point"]
            assert f"Row {point['row']}, column {point['column']}" in page.inner_text("#point")
            assert str(answer["grid"]) in printed


@needs_curl
def test_a_key_is_a_variable_of_the_environment(
    open_page: Callable[..., Any], browser: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    with start(threshold=0.0, api_key="secret") as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}")
        page.get_by_label("API key").fill("secret")
        page.get_by_label("API key").press("Tab")
        page.get_by_role("button", name="wide page").click()
        page.wait_for_selector(SHOWN)
        command, program = copied(page, "curl"), copied(page, "Python")
        count = page.locator("#list li").count()
        page.close()
        assert "secret" not in command + program
        answer = json.loads(output(["sh", "-c", command], tmp_path, API_KEY="secret"))
        assert len(answer["detections"]) == count
        lines = output([sys.executable, "-c", program], tmp_path, API_KEY="secret").splitlines()
        assert len(lines) == count


def test_without_a_clipboard_the_code_is_copied_from_a_selection(opened: Any) -> None:
    """Browsers give pages at plain HTTP no clipboard, except at this machine's own address."""
    opened.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    opened.evaluate(
        "document.execCommand = (name) => { window.selected = String(getSelection()); return name === 'copy'; }"
    )
    opened.get_by_role("button", name="wide page").click()
    opened.wait_for_selector(SHOWN)
    opened.get_by_role("button", name="Copy as curl").click()
    opened.get_by_role("button", name="Copied").wait_for()
    assert opened.evaluate("window.selected") == opened.evaluate("document.getElementById('curl').textContent")
