"""Detection on the web page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

SHOWN = "#detect-result:not([hidden])"


def test_an_image_gets_boxes_times_and_clusters(opened: Any, sample: str) -> None:
    opened.get_by_role("radio", name="ACT", exact=True).check()
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    assert opened.locator("#list li").count() > 0
    assert opened.locator("#boxes rect").count() > 0
    assert opened.locator("#clusters > *").count() > 0
    assert "of exact" in opened.inner_text("#encoder")
    assert "detections in" in opened.inner_text("#status")


def test_merging_says_how_many_tokens_are_left(opened: Any, sample: str, again: Callable[[Any], Any]) -> None:
    opened.get_by_role("radio", name="merge").check()
    opened.get_by_role("slider", name="Share of tokens merged").fill("0.75")
    with opened.expect_response(lambda response: "attention=merge&ratio=0.75" in response.url) as answered:
        opened.set_input_files("#file", sample)
    attention = again(answered.value)["attention"]
    assert attention["merged_tokens"] < attention["tokens"] / 3
    opened.locator("#encoder", has_text=f"{attention['merged_tokens']} left after merging").wait_for()
    assert opened.inner_text("#encoder").startswith("Merge (ratio\u00a0=\u00a00.75) attention over")
    assert opened.locator("#clusters").is_hidden()
    assert opened.inner_text("#detect-setting [data-mode=merge] .value") == "0.75"


def test_masks_are_drawn_where_the_model_has_them(
    run_server: Callable[..., Any], segmenting: Any, open_page: Callable[..., Any], sample: str
) -> None:
    with run_server(segmenting, threshold=0.0) as server, open_page(server) as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        outlines = page.locator("#boxes path").evaluate_all("paths => paths.map((path) => path.getTotalLength())")
        assert len(outlines) == page.locator("#list li").count()
        assert max(outlines) > 0


def test_a_lower_nms_threshold_leaves_fewer_boxes(opened: Any, sample: str) -> None:
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    before = opened.locator("#list li").count()
    with opened.expect_response(lambda response: "nms=0.05" in response.url):
        opened.get_by_label("Maximum overlap").fill("0.05")
        opened.get_by_label("Maximum overlap").dispatch_event("change")
    opened.locator("#status").filter(has_not_text=re.compile(f"^{before} ")).wait_for(state="attached")
    assert opened.locator("#list li").count() < before
    assert opened.inner_text("#overlap-shown") == "0.05"


def test_size_and_tiles_are_asked_for(opened: Any, sample: str) -> None:
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    size = opened.get_by_role("slider", name="Size")
    assert size.get_attribute("min") == "48"
    with opened.expect_response(lambda response: "size=96" in response.url):
        size.fill("96")
        size.dispatch_event("change")
    with opened.expect_response(lambda response: "tiles=2x1" in response.url):
        opened.get_by_label("Tiles").fill("2x1")
        opened.get_by_label("Tiles").dispatch_event("change")
    opened.locator("#encoder", has_text="in each of 2 x 1 tiles").wait_for()
    assert opened.inner_text("#detect-setting [data-size] .value") == "96"


def test_a_row_marks_its_box_while_it_has_the_focus(opened: Any, sample: str) -> None:
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    row = opened.locator("#list button").nth(1)
    row.focus()
    assert opened.locator("#boxes g:not(.dim)").evaluate_all("all => all.map((one) => one.dataset.index)") == ["1"]
    row.blur()
    assert opened.locator("#boxes g.dim").count() == 0


def test_a_sample_is_chosen_by_keyboard(opened: Any) -> None:
    names = opened.get_by_role("group", name="Sample images").get_by_role("button")
    assert names.count() == 3
    names.nth(2).focus()
    opened.keyboard.press("Enter")
    opened.wait_for_selector(SHOWN)
    assert opened.evaluate("document.getElementById('image').naturalWidth") == 1024


def test_changes_in_quick_succession_ask_once(opened: Any, sample: str) -> None:
    opened.set_input_files("#file", sample)
    opened.wait_for_selector(SHOWN)
    asked: list[str] = []
    opened.on("request", lambda request: "/detect" in request.url and asked.append(request.url))
    with opened.expect_response(lambda response: "/detect?" in response.url):
        opened.get_by_label("Threshold").focus()
        for _ in range(5):
            opened.keyboard.press("ArrowRight")
    assert len(asked) == 1
    assert "threshold=0.05" in asked[0]


def test_an_image_that_the_browser_cannot_read_gets_its_boxes(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    Image.new("RGB", (200, 100), "white").save(path)
    opened.set_input_files("#file", str(path))
    opened.wait_for_selector(SHOWN)
    box = opened.locator("#detect-view").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(2, rel=0.02)
    assert opened.locator("#boxes rect").count() > 0


def test_a_file_that_is_not_an_image_is_explained(opened: Any, tmp_path: Path) -> None:
    text = tmp_path / "page.jpg"
    text.write_text("this is no image")
    opened.set_input_files("#file", str(text))
    opened.get_by_role("alert").filter(has_text="415").wait_for()


def test_a_key_is_asked_for_where_one_is_needed(
    open_page: Callable[..., Any], browser: Any, start: Callable[..., Any], sample: str
) -> None:
    with start(threshold=0.0, api_key="secret") as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}")
        page.get_by_role("alert").filter(has_text="401").wait_for()
        page.get_by_label("API key").fill("secret")
        page.get_by_label("API key").press("Tab")
        page.locator("#model", has_text="parameters").wait_for()
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        assert page.get_by_role("alert").count() == 0
        page.close()
