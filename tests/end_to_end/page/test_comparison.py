"""Two settings compared on the web page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SHOWN = "#compare-result:not([hidden])"


@pytest.fixture
def compared(
    open_page: Callable[..., Any], start: Callable[..., Any], sample: str, again: Callable[[Any], Any]
) -> Iterator[tuple[Any, Any]]:
    """A page that compares exact with tangent attention, and the answer that it got."""
    with start(threshold=0.12) as server, open_page(server) as page:
        page.get_by_role("tab", name="Compare").click()
        with page.expect_response(lambda response: "/compare" in response.url) as answered:
            page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        yield page, again(answered.value)


def ratio(page: Any) -> float:
    """Where the handle is, as a share of the picture's width."""
    view, handle = page.locator("#compare-view").bounding_box(), page.locator("#swipe").bounding_box()
    share: float = (handle["x"] + handle["width"] / 2 - view["x"]) / view["width"]
    return share


def test_both_sides_and_their_differences_are_shown(compared: tuple[Any, Any]) -> None:
    page, answer = compared
    for side in ("left", "right"):
        assert page.locator(f"#{side}-boxes g").count() == len(answer[side]["detections"])
        assert page.locator(f"#{side}-boxes g.only").count() == len(answer[f"only_{side}"])
    assert page.inner_text("#left-name") == "exact"
    assert page.inner_text("#right-name").startswith("tangent (C")
    rows = dict(row.split("\t", 1) for row in page.inner_text("#sides").splitlines()[1:])
    assert rows["Detections"] == f"{len(answer['left']['detections'])}\t{len(answer['right']['detections'])}"
    costs = [answer[side]["attention"]["encoder_gflops"] for side in ("left", "right")]
    assert rows["GFLOPs"] == "\t".join(f"{cost:.2f}" for cost in costs)
    assert page.locator("#cluster-pairs .clusters > div").count() == 2 * len(answer["right"]["attention"]["clusters"])
    assert page.inner_text("#verdict") == page.inner_text("#status")


def test_the_handle_follows_pointer_and_keyboard(compared: tuple[Any, Any]) -> None:
    page, _ = compared
    handle = page.get_by_role("slider", name="left setting")
    assert ratio(page) == pytest.approx(0.5, abs=0.01)
    view = page.locator("#compare-view").bounding_box()
    middle = view["y"] + view["height"] / 2
    page.mouse.move(view["x"] + view["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(view["x"] + view["width"] / 4, middle, steps=4)
    page.mouse.up()
    assert ratio(page) == pytest.approx(0.25, abs=0.01)
    assert handle.evaluate("handle => handle === document.activeElement")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    assert handle.get_attribute("aria-valuenow") == "12"
    assert handle.get_attribute("aria-valuetext") == "left 12 %, right 88 %"
    assert ratio(page) == pytest.approx(0.12, abs=0.01)
    page.keyboard.press("End")
    assert ratio(page) == pytest.approx(1, abs=0.01)


def test_the_handle_follows_a_finger(open_page: Callable[..., Any], start: Callable[..., Any], sample: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with start(threshold=0.0) as server, open_page(server, "#view=compare", **phone) as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        view = page.locator("#compare-view").bounding_box()
        page.touchscreen.tap(view["x"] + view["width"] * 0.7, view["y"] + 60)
        assert ratio(page) == pytest.approx(0.7, abs=0.02)


def test_each_side_has_settings_of_its_own(compared: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, _ = compared
    left, right = page.get_by_role("group", name="Left"), page.get_by_role("group", name="Right")
    left.get_by_role("radio", name="ACT", exact=True).check()
    left.get_by_role("slider", name="Hash rounds L").fill("9")
    with page.expect_response(lambda response: "left=act:L=9" in response.url) as answered:
        right.get_by_role("slider", name="Size").fill("96")
        right.get_by_role("slider", name="Size").dispatch_event("change")
    assert "right_size=96" in answered.value.url
    answer = again(answered.value)
    assert answer["left"]["attention"]["L"] == 9
    assert answer["right"]["resized"] != answer["left"]["resized"]
    page.locator("#right-name", has_text=f"at {answer['right']['resized']['width']} x").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.reload()
    assert left.get_by_role("slider", name="Hash rounds L").input_value() == "9"
    assert right.get_by_role("slider", name="Size").input_value() == "96"
    assert page.get_by_role("tab", name="Compare").get_attribute("aria-selected") == "true"


def test_merged_tokens_are_counted_beside_all_of_them(compared: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, _ = compared
    assert "Left after merging" not in page.inner_text("#sides")
    with page.expect_response(lambda response: "right=merge:ratio=" in response.url) as answered:
        page.get_by_role("group", name="Right").get_by_role("radio", name="merge").check()
    attention = again(answered.value)["right"]["attention"]
    merged = attention["merged_tokens"]
    assert merged < attention["tokens"]
    page.locator("#sides", has_text="Left after merging").wait_for()
    rows = dict(row.split("\t", 1) for row in page.inner_text("#sides").splitlines()[1:])
    assert rows["Left after merging"] == f"all\t{merged}"
    assert page.inner_text("#right-name") == f"merge (ratio\u00a0=\u00a0{attention['ratio']})"
    page.reload()
    right = page.get_by_role("group", name="Right")
    assert right.get_by_role("radio", name="merge").is_checked()


def test_a_phone_shows_the_whole_ratio_of_a_side(
    open_page: Callable[..., Any], start: Callable[..., Any], sample: str
) -> None:
    phone = {"viewport": {"width": 390, "height": 844}}
    link = "#view=compare&right=merge:ratio=0.55,C=6"
    with start(threshold=0.0) as server, open_page(server, link, **phone) as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        name = page.locator("#right-name")
        assert name.inner_text() == "merge (ratio\u00a0=\u00a00.55, C\u00a0=\u00a06)"
        assert name.evaluate("name => name.scrollWidth <= name.clientWidth")
        view, label = page.locator("#compare-view").bounding_box(), name.bounding_box()
        assert label["x"] >= view["x"] + view["width"] / 2


def test_what_both_found_alike_can_be_hidden(compared: tuple[Any, Any]) -> None:
    page, answer = compared
    alike = sum(pair["iou"] >= 0.9 for pair in answer["pairs"])
    assert page.locator("#left-boxes g.alike").count() == alike > 0
    page.get_by_label("Show what both found alike").uncheck()
    assert page.locator("#left-boxes g.alike").count() == 0


def side(scores: int, *, gflops: float, inference: float) -> dict[str, Any]:
    return {
        "detections": [{}] * scores,
        "attention": {"encoder_gflops": gflops},
        "timing_ms": {"inference": inference},
    }


@pytest.mark.parametrize(
    ("right", "matching", "words"),
    [
        (
            side(2, gflops=0.75, inference=80),
            {"pairs": [0.99, 0.95], "only_left": [], "only_right": []},
            "saved 25 % of the multiply-adds in the encoder and 20 % of the inference time, "
            "and found the same 2 objects.",
        ),
        (
            side(2, gflops=0.5, inference=150),
            {"pairs": [0.8], "only_left": [1], "only_right": [1]},
            "saved 50 % of the multiply-adds in the encoder but took 50 % more inference time, "
            "and found 1 of its 2 objects, 1 of them moved, and 1 that it had not.",
        ),
        (
            side(0, gflops=1.01, inference=101),
            {"pairs": [], "only_left": [], "only_right": []},
            "took as long and as many multiply-adds, and both found nothing.",
        ),
    ],
)
def test_the_verdict_is_a_plain_sentence(
    opened: Any, right: dict[str, Any], matching: dict[str, Any], words: str
) -> None:
    answer = {"left": side(2, gflops=1, inference=100), "right": right, **matching}
    answer["pairs"] = [{"iou": iou} for iou in matching["pairs"]]
    verdict = opened.evaluate(
        "async (answer) => (await import(new URL('static/differences.js', document.baseURI)))"
        ".verdict(JSON.parse(answer), 'exact attention', 'tangent')",
        json.dumps(answer),
    )
    assert verdict == f"Beside exact attention, tangent {words}"


def test_without_explanations_there_are_no_other_views(
    open_page: Callable[..., Any], start: Callable[..., Any], sample: str
) -> None:
    with start(threshold=0.0, explain=False) as server, open_page(server, "#view=compare") as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector("#detect-result:not([hidden])")
        assert page.get_by_role("tab").count() == 0
        assert page.get_by_role("alert").count() == 0
