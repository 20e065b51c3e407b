"""The web page behind a proxy that offers the service under a prefix."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest

pytestmark = pytest.mark.browser


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
    browser: Any, start: Callable[..., Any], sample: str, root_path: str, strips: bool, entry: str
) -> None:
    with start(threshold=0.0, root_path=root_path) as server, proxy(server.port, "/vision/one", strips) as address:
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("response", lambda answer: answer.ok or faults.append(f"{answer.status} {answer.url}"))
        page.goto(address + entry)
        page.locator("#model", has_text="parameters").wait_for()
        page.set_input_files("#file", sample)
        page.wait_for_selector("#detect-result:not([hidden])")
        page.get_by_role("button", name="wide page").click()
        page.wait_for_url("**#sample=sample-wide.webp")
        assert f"{address}/static/sample-wide.webp" in page.text_content("#curl")
        assert f"'{address}/detect'" in page.text_content("#curl")
        assert page.evaluate("document.styleSheets.length") == 2
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
