"""The web page in a real browser, against a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, start: Callable[..., Any]) -> Iterator[Any]:
    """A page at the server's root, which fails the test when a script fails or asks another host."""
    with start(threshold=0.0) as server:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        root = f"http://127.0.0.1:{server.port}"
        page.on(
            "request", lambda request: request.url.startswith((root, "blob:", "data:")) or faults.append(request.url)
        )
        page.goto(root)
        yield page
        page.close()
    assert faults == []


def sample() -> str:
    return str(resources.files("models").joinpath("pretrained", "sample-page.jpg"))


def test_an_image_gets_boxes_times_and_clusters(opened: Any) -> None:
    opened.get_by_text("ACT", exact=True).click()
    opened.set_input_files("#file", sample())
    opened.wait_for_selector("#result:not([hidden])")
    assert opened.locator("#list li").count() > 0
    assert opened.locator("#boxes rect").count() > 0
    assert opened.locator("#clusters > *").count() > 0
    assert "of exact" in opened.inner_text("#encoder")


def test_less_overlap_leaves_fewer_boxes(opened: Any) -> None:
    opened.set_input_files("#file", sample())
    opened.wait_for_selector("#result:not([hidden])")
    before = opened.locator("#list li").count()
    with opened.expect_response(lambda response: "nms=0.05" in response.url):
        opened.locator("#overlap").fill("0.05")
        opened.locator("#overlap").dispatch_event("change")
    opened.wait_for_function("before => document.querySelectorAll('#list li').length < before", arg=before)
    assert opened.inner_text("#overlap-shown") == "0.05"


def test_what_is_no_image_is_explained(opened: Any, tmp_path: Any) -> None:
    text = tmp_path / "page.jpg"
    text.write_text("this is no image")
    opened.set_input_files("#file", str(text))
    opened.wait_for_selector("#error:not([hidden])")
    assert "415" in opened.inner_text("#error")


def test_the_api_is_documented_offline(opened: Any) -> None:
    opened.goto(opened.url + "docs")
    opened.get_by_text("/detect/batch", exact=True).first.wait_for()
    assert "deadline_ms" in opened.inner_text("body")
