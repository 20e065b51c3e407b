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


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("merge:ratio=0.33", "Merge (ratio\u00a0=\u00a00.33) attention"),
        ("merge:ratio=0.5,C=6", "Merge (ratio\u00a0=\u00a00.5, C\u00a0=\u00a06) attention"),
    ],
)
def test_a_link_to_merged_tokens_keeps_its_ratio_and_clusters(
    start: Callable[..., Any], open_page: Callable[..., Any], sample: str, word: str, name: str
) -> None:
    with start(threshold=0.0) as server, open_page(server, f"#detect={word}") as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        assert page.inner_text("#encoder").startswith(name)
        assert page.url.endswith(f"#detect={word}")
        page.goto(f"{page.url.split('#')[0]}#detect=merge:ratio=0.5")
        page.locator("#encoder", has_text="Merge (ratio\u00a0=\u00a00.5) attention").wait_for()


def test_clusters_that_the_server_refuses_are_named_in_a_message(
    start: Callable[..., Any], open_page: Callable[..., Any], sample: str
) -> None:
    with start(threshold=0.0) as server, open_page(server, "#detect=merge:ratio=0.5,C=5000") as page:
        page.set_input_files("#file", sample)
        assert "C: " in page.get_by_role("alert").inner_text()


def test_the_ratio_of_the_server_is_that_of_the_page(
    start: Callable[..., Any], open_page: Callable[..., Any], sample: str
) -> None:
    with start(threshold=0.0, ratio=0.33) as server, open_page(server) as page:
        page.get_by_role("radio", name="merge").check()
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        assert page.inner_text("#encoder").startswith("Merge (ratio\u00a0=\u00a00.33) attention")
        assert page.inner_text("#detect-setting [data-mode=merge] .value") == "0.33"


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
