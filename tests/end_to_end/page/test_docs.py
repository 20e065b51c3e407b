from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def commands(browser: Any, start: Any) -> Iterator[list[list[str]]]:
    """The words of every curl command on the page of the API, while its server runs."""
    with start() as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/docs")
        page.locator("pre", has_text="/detect'").first.wait_for()
        yield [shlex.split(text) for text in page.locator("pre").all_inner_texts() if text.startswith("curl ")]
        page.close()


def test_commands_are_complete(commands: list[list[str]]) -> None:
    bodies = {command[-1].partition("/")[2].partition("/")[2].partition("/")[2]: command[1:-1] for command in commands}
    assert bodies["detect"] == bodies["compare"] == bodies["explain"] == ["--data-binary", "@image.jpg"]
    assert bodies["detect/batch"] == ["-F", "image=@a.jpg", "-F", "image=@b.png"]
    assert bodies["model"] == bodies["v2/models/tiny"] == []
    assert not any("{" in address for address in bodies)


def test_the_example_of_an_inference_is_answered(commands: list[list[str]]) -> None:
    (command,) = [command for command in commands if command[-1].endswith("/v2/models/tiny/infer")]
    option, request, address = command[1:]
    assert option == "--json"
    answer = httpx.post(address, content=request.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert [output["name"] for output in answer.json()["outputs"]] == ["num_detections", "boxes", "labels"]
