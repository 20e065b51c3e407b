"""The web page's address: it restores the settings, not the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SHOWN = "#detect-result:not([hidden])"


def test_a_reload_restores_the_settings_and_a_sample(opened: Any) -> None:
    assert "#" not in opened.url
    opened.get_by_role("button", name="wide page").click()
    opened.wait_for_selector(SHOWN)
    opened.get_by_role("radio", name="ACT", exact=True).check()
    opened.get_by_role("slider", name="Hash rounds L").fill("7")
    opened.get_by_label("Threshold").fill("0.02")
    opened.get_by_label("Tiles").fill("1x2")
    opened.get_by_label("Tiles").press("Enter")
    opened.wait_for_url("**#*tiles=1x2*")
    before = opened.url
    opened.reload()
    opened.wait_for_selector(SHOWN)
    opened.locator("#encoder", has_text="(L\u00a0=\u00a07").wait_for()
    assert opened.get_by_role("radio", name="ACT", exact=True).is_checked()
    assert opened.get_by_role("slider", name="Hash rounds L").input_value() == "7"
    assert opened.get_by_label("Threshold").input_value() == "0.02"
    assert opened.get_by_label("Tiles").input_value() == "1x2"
    assert opened.url == before


def test_the_default_settings_make_no_link(opened: Any, sample: str) -> None:
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    assert "#" not in opened.url


@pytest.mark.parametrize("link", ["#view=nothing&left=%E0&detect=no:such&nms=x&sample=../model&layer=-1", "#%"])
def test_a_broken_link_changes_nothing(start: Callable[..., Any], open_page: Callable[..., Any], link: str) -> None:
    with start(threshold=0.0) as server, open_page(server, link) as page:
        page.get_by_role("button", name="wide page").click()
        page.wait_for_selector(SHOWN)
        assert page.get_by_role("alert").count() == 0
