"""The web page in a real browser, against a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium. Not for the whole session: while playwright's loop runs, no other test can run one."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Callable[..., AbstractContextManager[Any]]:
    """Return a function (server, link="", **context) that opens the page of a server while its `with` block lasts.

    It fails the test when a script fails or asks another host, or the browser complains of the page.
    """

    @contextmanager
    def opened(server: Any, link: str = "", **context: Any) -> Iterator[Any]:
        page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | context))
        faults: list[str] = []
        root = f"http://127.0.0.1:{server.port}"
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith((root, "blob:", "data:")) or faults.append(request.url)
        )
        page.goto(f"{root}/{link}")
        page.locator("#model", has_text="parameters").wait_for()
        yield page
        page.close()
        assert faults == []

    return opened


@pytest.fixture
def opened(open_page: Callable[..., Any], start: Callable[..., Any]) -> Iterator[Any]:
    """A page at the root of a server that keeps every box."""
    with start(threshold=0.0) as server, open_page(server) as page:
        yield page


@pytest.fixture(scope="session")
def sample() -> str:
    """Return the path of a sample image."""
    return str(resources.files("models").joinpath("pretrained", "sample-page.jpg"))


@pytest.fixture(scope="session")
def again(sample: str) -> Callable[[Any], Any]:
    """Return a function that asks for what a response of the page was to, with the sample: the same answer, as JSON."""
    image = Path(sample).read_bytes()
    return lambda response: httpx.post(response.url, content=image, trust_env=False, timeout=60).json()
