"""The pictures of the web page in the documentation: `python -m deploy.screenshots`. It needs Chromium."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from deploy.local_server import ROOT, LocalServer

MODEL: Final = "pages-large"
"""Clustering saves more of it, as it has four times as many tokens."""
WIDTH: Final = 1440
HEIGHT: Final = 960
COMPARED: Final = "sample-scan.webp"
"""A sample in which not everything stays the same."""
EXPLAINED: Final = "sample-page.jpg"
FAR_AND_NEAR: Final = (
    ("Shift+ArrowRight",) * 5 + ("Shift+ArrowDown",) * 2,
    ("Shift+ArrowLeft",) * 5 + ("Shift+ArrowUp", "Shift+ArrowUp", "ArrowDown"),
)
"""Keys that move from the first point to one far away, and to a neighbour of the first one."""
COLOURS: Final = 255
"""A palette keeps a screenshot small enough for a README."""
SETTLED_MS: Final = 500
"""Milliseconds in which fades end."""


def main(argv: Sequence[str] | None = None) -> None:
    """Start the service, take a picture of each view and stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="folder for the pictures (default: docs)")
    folder = parser.parse_args(argv).folder
    with LocalServer(LOG_LEVEL="warning", MODEL=MODEL) as server, sync_playwright() as playwright:
        server.wait_until_ready()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        save(comparison(browser, server.url), folder / "page-compare.png")
        save(explanation(browser, server.url), folder / "page-explain.png")
        browser.close()


def comparison(browser: Browser, url: str) -> bytes:
    """Return a picture (PNG) of exact attention compared with the model's tangent attention."""
    page = opened(browser, url, "compare", COMPARED)
    page.get_by_role("slider", name="left setting").press("PageUp")
    return taken(page)


def explanation(browser: Browser, url: str) -> bytes:
    """Return a picture (PNG) of a point's cluster and attention, beside points far and near that were looked at."""
    page = opened(browser, url, "explain", EXPLAINED)
    maps = page.get_by_label("Maps of the encoder")
    for keys in FAR_AND_NEAR:
        with page.expect_response(lambda response: "/explain" in response.url):
            for key in keys:
                maps.press(key)
        page.wait_for_timeout(SETTLED_MS)
    return taken(page)


def opened(browser: Browser, url: str, view: str, sample: str) -> Page:
    """Return the page that shows a sample in a view."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.goto(f"{url}/#view={view}&sample={sample}")
    page.wait_for_selector(f"#{view}-result:not([hidden])")
    return page


def taken(page: Page) -> bytes:
    """Return a picture of what is on the screen, from its top and without the mark of the focus, and close the page."""
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(SETTLED_MS)
    picture = page.screenshot()
    page.close()
    return picture


def save(picture: bytes, path: Path) -> None:
    """Write a picture with few colours."""
    Image.open(BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
