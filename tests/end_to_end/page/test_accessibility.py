"""The web page for all: axe-core finds no violation of WCAG 2.1 AA, and nothing is wider than the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install '.[dev]'")

pytestmark = pytest.mark.browser

LEVELS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SCREENS = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}


def assert_accessible(page: Any) -> None:
    found = axe.Axe().run(page, options=LEVELS).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_every_view_on_every_screen(
    start: Callable[..., Any], open_page: Callable[..., Any], screen: str, scheme: str
) -> None:
    width, height = SCREENS[screen]
    context = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "reduced_motion": "reduce"}
    with start(threshold=0.0) as server, open_page(server, **context) as page:
        assert_accessible(page)
        page.get_by_role("button", name="wide page").click()
        page.wait_for_selector("#detect-result:not([hidden])")
        page.get_by_text("Show the code").click()
        assert_accessible(page)
        for key, view in (("ArrowRight", "compare"), ("End", "explain")):
            page.get_by_role("tab", selected=True).press(key)
            page.wait_for_selector(f"#{view}-result:not([hidden])")
            assert page.get_by_role("tab", selected=True).inner_text().lower() == view
            if view == "explain":
                page.locator("#maps").press("Shift+ArrowDown")
                page.locator("#visited button").wait_for()
            assert_accessible(page)
