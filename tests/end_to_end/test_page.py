"""The web page in a real browser, against a real server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, ClassVar

import httpx
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
    with start(threshold=0.0) as server, opened_at(browser, server) as page:
        yield page


@contextmanager
def opened_at(browser: Any, server: Any) -> Iterator[Any]:
    """Open the page of a server; it fails the test when a script fails or asks another host."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    root = f"http://127.0.0.1:{server.port}"
    page.on("request", lambda request: request.url.startswith((root, "blob:", "data:")) or faults.append(request.url))
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


def test_masks_are_drawn_where_the_model_has_them(
    browser: Any, run_server: Callable[..., Any], segmenting: Any
) -> None:
    with run_server(segmenting, threshold=0.0) as server, opened_at(browser, server) as page:
        page.set_input_files("#file", sample())
        page.wait_for_selector("#result:not([hidden])")
        outlines = page.locator("#boxes path").evaluate_all("paths => paths.map((path) => path.getTotalLength())")
        assert len(outlines) == page.locator("#list li").count()
        assert max(outlines) > 0


def test_a_lower_nms_threshold_leaves_fewer_boxes(opened: Any) -> None:
    opened.set_input_files("#file", sample())
    opened.wait_for_selector("#result:not([hidden])")
    before = opened.locator("#list li").count()
    with opened.expect_response(lambda response: "nms=0.05" in response.url):
        opened.locator("#overlap").fill("0.05")
        opened.locator("#overlap").dispatch_event("change")
    opened.wait_for_function("before => document.querySelectorAll('#list li').length < before", arg=before)
    assert opened.inner_text("#overlap-shown") == "0.05"


def test_size_and_tiles_are_asked_for(opened: Any) -> None:
    opened.set_input_files("#file", sample())
    opened.wait_for_selector("#result:not([hidden])")
    assert opened.locator("#size").get_attribute("min") == "48"
    with opened.expect_response(lambda response: "size=96" in response.url):
        opened.locator("#size").fill("96")
        opened.locator("#size").dispatch_event("change")
    with opened.expect_response(lambda response: "tiles=2x1" in response.url):
        opened.locator("#tiles").fill("2x1")
        opened.locator("#tiles").dispatch_event("change")
    opened.wait_for_function("document.getElementById('encoder').textContent.includes('in each of 2 x 1 tiles')")
    assert opened.inner_text("#size-shown") == "96"


def test_a_file_that_is_not_an_image_is_explained(opened: Any, tmp_path: Any) -> None:
    text = tmp_path / "page.jpg"
    text.write_text("this is no image")
    opened.set_input_files("#file", str(text))
    opened.wait_for_selector("#error:not([hidden])")
    assert "415" in opened.inner_text("#error")


class Proxy(BaseHTTPRequestHandler):
    """Offers another server under a prefix: strips it off (or leaves it), and knows nothing else."""

    target: ClassVar[int]
    prefix: ClassVar[str]
    strips: ClassVar[bool]

    def forward(self) -> None:
        if not self.path.startswith(self.prefix):
            self.send_error(404, "outside the prefix")
            return
        path = self.path.removeprefix(self.prefix) or "/" if self.strips else self.path
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        url = f"http://127.0.0.1:{self.target}{path}"
        answer = httpx.request(self.command, url, content=body, headers=headers, trust_env=False, timeout=60)
        self.send_response(answer.status_code)
        self.send_header("content-type", answer.headers.get("content-type", ""))
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = forward

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxy(target: int, prefix: str, strips: bool) -> Iterator[str]:
    """Run a proxy; yield the address of the prefix, without a slash at its end."""
    handler = type("Handler", (Proxy,), {"target": target, "prefix": prefix, "strips": strips})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("root_path", "strips", "entry"),
    [
        ("", True, "/"),  # the prefix is the proxy's secret: relative addresses do
        ("/vision/one", True, "/"),
        ("/vision/one", True, ""),
        ("/vision/one", False, "/"),
        ("/vision/one", False, ""),
    ],
)
def test_pages_work_behind_a_prefix(
    browser: Any, start: Callable[..., Any], root_path: str, strips: bool, entry: str
) -> None:
    with start(threshold=0.0, root_path=root_path) as server, proxy(server.port, "/vision/one", strips) as address:
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("response", lambda answer: answer.ok or faults.append(f"{answer.status} {answer.url}"))
        page.goto(address + entry)
        page.wait_for_function("document.getElementById('model').textContent.includes('parameters')")
        page.set_input_files("#file", sample())
        page.wait_for_selector("#result:not([hidden])")
        assert page.evaluate("document.styleSheets.length") == 1
        page.get_by_role("link", name="API", exact=True).click()
        page.get_by_text("/detect/batch", exact=True).first.wait_for()
        assert f"'{address}/detect'" in page.inner_text("body")
        for link in ("Try it", "Metrics", "Model"):
            page.get_by_role("link", name=link, exact=True).click()
            page.wait_for_load_state()
            if link != "Try it":
                assert page.url == f"{address}/{link.lower()}"
                page.go_back()
        page.goto(address + "/docs")
        with page.expect_response(address + "/openapi.json"):
            page.get_by_role("link", name="openapi.json").click()
        page.close()
    assert faults == []
