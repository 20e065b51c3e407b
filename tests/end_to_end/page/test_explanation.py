"""Clusters and attention shown on the web page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser

SHOWN = "#explain-result:not([hidden])"


def explains(response: Any) -> bool:
    return "/explain" in response.url


@pytest.fixture
def explained(
    open_page: Callable[..., Any], start: Callable[..., Any], sample: str, again: Callable[[Any], Any]
) -> Iterator[tuple[Any, Any]]:
    """A page that explains tangent attention, and the answer that it got."""
    with start() as server, open_page(server) as page:
        page.get_by_role("tab", name="Explain").click()
        with page.expect_response(explains) as answered:
            page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        yield page, again(answered.value)


def colour(page: Any, answer: Any, name: str, index: int) -> list[int]:
    """The colour (red, green, blue, alpha) of a position's middle."""
    row, column = divmod(index, answer["grid"]["columns"])
    x, y = (column + 0.5) / answer["grid"]["columns"], (row + 0.5) / answer["grid"]["rows"]
    pixel: list[int] = page.locator(f"[data-map={name}] canvas").evaluate(
        "(canvas, [x, y]) => [...canvas.getContext('2d')"
        ".getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data]",
        [x, y],
    )
    return pixel


def test_a_point_is_explained_at_once(explained: tuple[Any, Any]) -> None:
    page, answer = explained
    point = answer["point"]
    assert f"Row {point['row']}, column {point['column']}" in page.inner_text("#point")
    common = 100 * (1 - answer["attention_map"]["difference"])
    assert f"have {common:.{1 if common > 99 else 0}f} % in common" in page.inner_text("#point")
    assert page.inner_text("#status") == page.inner_text("#point")
    assert "of neighbours share a cluster" in page.inner_text("#likeness")
    assert f"in {answer['clusters']['count']} clusters" in page.inner_text("#explained")
    assert page.locator("#layers input").count() == answer["layers"]
    assert page.locator("#heads input").count() == answer["heads"]


def test_maps_are_coloured_by_cluster_and_by_weight(explained: tuple[Any, Any]) -> None:
    page, answer = explained
    of_cluster: dict[int, set[tuple[int, ...]]] = {}
    for index, cluster in enumerate(answer["clusters"]["assignment"]):
        of_cluster.setdefault(cluster, set()).add(tuple(colour(page, answer, "clusters", index)))
    assert all(len(colours) == 1 for colours in of_cluster.values())
    assert len(set().union(*of_cluster.values())) == len(of_cluster)
    weights = answer["attention_map"]["exact"]
    most, least = (weights.index(value) for value in (max(weights), min(weights)))
    assert sum(colour(page, answer, "exact", most)[:3]) < sum(colour(page, answer, "exact", least)[:3])


def test_a_click_and_arrow_keys_move_the_point(explained: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, answer = explained
    rows, columns = answer["grid"]["rows"], answer["grid"]["columns"]
    view = page.locator("[data-map=approximate] .view")
    box = view.bounding_box()
    with page.expect_response(explains) as clicked:
        view.click(position={"x": box["width"] * 0.01, "y": box["height"] * 0.99})
    point = again(clicked.value)["point"]
    assert (point["row"], point["column"]) == (rows - 1, 0)
    page.locator("#point", has_text=f"Row {rows - 1}, column 0").wait_for()
    assert "positions away" in page.inner_text("#visited")
    assert "% alike" in page.inner_text("#visited")
    asked: list[str] = []
    page.on("request", lambda request: "/explain" in request.url and asked.append(request.url))
    page.locator("#maps").focus()
    with page.expect_response(explains) as moved:
        for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "Shift+ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
    point = again(moved.value)["point"]
    assert (point["row"], point["column"]) == (rows - 1, min(5, columns - 1))
    assert len(asked) == 1


def test_an_earlier_point_can_be_gone_back_to(explained: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, answer = explained
    with page.expect_response(explains):
        page.locator("[data-map=clusters] .view").click(position={"x": 3, "y": 3})
    page.locator("#point", has_text="Row 0, column 0").wait_for()
    with page.expect_response(explains) as back:
        page.locator("#visited button").click()
    assert again(back.value)["point"] == answer["point"]


def test_layers_and_heads_are_chosen(explained: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, answer = explained
    with page.expect_response(explains) as deeper:
        page.get_by_role("group", name="Layer").get_by_role("radio", name="1").check()
    assert again(deeper.value)["layer"] == 1
    with page.expect_response(explains) as other:
        page.get_by_role("group", name="Head").get_by_role("radio", name="0").press("ArrowRight")
    found = again(other.value)
    assert (found["layer"], found["head"], found["point"]) == (
        1,
        1,
        {**answer["point"], "cluster": found["point"]["cluster"]},
    )
    page.locator("#likeness", has_text="In layer 1, head 1").wait_for()
    page.reload()
    with page.expect_response(explains) as restored:
        page.get_by_role("button", name="wide page").click()
    assert "layer=1&head=1" in restored.value.url


def test_what_was_merged_into_one_token_is_one_colour(explained: tuple[Any, Any], again: Callable[[Any], Any]) -> None:
    page, _ = explained
    with page.expect_response(explains) as answered:
        page.get_by_role("radio", name="merge").check()
    answer = again(answered.value)
    assert answer["attention"]["merged_tokens"] == answer["clusters"]["count"]
    page.locator("#explained", has_text=f"merged into {answer['clusters']['count']} tokens").wait_for()
    assert page.inner_text("#likeness").startswith("In all layers and heads,")
    first = answer["clusters"]["assignment"][0]
    members = [i for i, cluster in enumerate(answer["clusters"]["assignment"]) if cluster == first]
    assert len({tuple(colour(page, answer, "clusters", index)) for index in members}) == 1
    assert "merged with no other" in page.inner_text("#point") or "that became one token" in page.inner_text("#point")


def test_exact_attention_has_one_map(explained: tuple[Any, Any]) -> None:
    page, _ = explained
    with page.expect_response(explains):
        page.get_by_role("radio", name="exact", exact=True).check()
    page.locator("[data-map=clusters]").wait_for(state="hidden")
    assert page.locator("#maps figure:visible").count() == 1
    assert page.inner_text("#likeness") == ""


def test_a_phone_shows_one_map_at_a_time(open_page: Callable[..., Any], start: Callable[..., Any], sample: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}}
    with start() as server, open_page(server, "#view=explain", **phone) as page:
        page.set_input_files("#file", sample)
        page.wait_for_selector(SHOWN)
        assert page.locator("#maps figure:visible").count() == 1
        page.get_by_role("radio", name="Approximate").check()
        page.locator("[data-map=approximate]").wait_for()
        assert page.locator("#maps figure:visible").count() == 1
        assert page.locator("[data-map=approximate] canvas").evaluate("canvas => canvas.width") > 300
