"""Images that are made cheaper under load: what is left alone, what the answer says, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from models.attention_config import AttentionConfig
from service.degradation import Degradation, Step
from service.detection_options import DetectionDefaults, DetectQuery, resolve_options
from service.rungs import Rung, RungTimes
from service.scheduling.costs import CostModel
from service.scheduling.ladder import Ladder
from service.settings import Settings

TANGENT = AttentionConfig.tangent(8)
TIMES = RungTimes((1000, 500_000), ((1.0, 0.75, 0.5),) * 2)
LADDER = "size=304;size=304,tangent:C=8"


class Load:
    """The wait for the device in seconds, and the time, both set by hand."""

    def __init__(self) -> None:
        self.wait = 0.0
        self.now = 0.0


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def degradation(detector: Any, load: Load) -> Degradation:
    """The ladder of a detector of which an image takes 0.4 s at rung 0."""
    costs = CostModel()
    costs.assume(352 * 352, 0.4)
    ladder = Ladder(2, 1.0, 1, lambda: load.wait, lambda: load.now)
    made = Degradation(detector, (Rung(304), Rung(304, TANGENT)), ladder, costs)
    made.times = TIMES
    return made


@pytest.fixture
def ask(degradation: Degradation, detector: Any) -> Callable[..., Step]:
    """Return a function (**query) that sends a square image up the ladder."""
    defaults = DetectionDefaults.of(Settings(), detector)

    def ask(**query: Any) -> Step:
        present = degradation.present(600, 600, resolve_options(DetectQuery(**query), defaults, 0.0))
        size = present.options.size
        return degradation.choose(present, "key", [size * size], 0.0)

    return ask


def test_without_load_nothing_changes(ask: Callable[..., Step]) -> None:
    step = ask()
    assert (step.rung, step.note, step.options.size, step.options.attention) == (0, "", 352, None)


def test_the_wait_decides_the_rung(ask: Callable[..., Step], load: Load) -> None:
    load.wait = 0.5
    size = ask()
    assert (size.rung, size.options.size, size.options.attention) == (1, 304, None)
    assert size.note == (
        "rung 1 of the ladder (size=304), to answer within 1000 ms under load; it was measured to save 25% of the time"
    )
    load.wait = 0.64
    both = ask()
    assert (both.rung, both.options.size, both.options.attention) == (2, 304, TANGENT)


@pytest.mark.parametrize(
    "query",
    [{"size": 352}, {"size": 320}, {"attention": "exact"}, {"attention": "tangent", "C": 32}, {"tiles": "auto"}],
)
def test_what_the_caller_chose_is_never_changed(
    ask: Callable[..., Step], load: Load, degradation: Degradation, query: dict[str, Any]
) -> None:
    load.wait = 9.0
    before = ask(**query)
    assert (before.rung, before.note) == (None, "")
    assert before.options.size == query.get("size", 352)
    assert degradation.ladder.rung == 0


def test_auto_that_is_asked_for_may_be_cheaper(ask: Callable[..., Step], load: Load) -> None:
    load.wait = 9.0
    assert ask(attention="auto", threshold=0.1, masks=None).rung == 2


def test_a_rung_that_does_not_pay_for_the_image_is_passed_over(
    ask: Callable[..., Step], load: Load, degradation: Degradation
) -> None:
    degradation.times = RungTimes((1000, 500_000), ((1.0, 0.75, 0.8),) * 2)
    load.wait = 9.0
    for _ in range(3):
        assert ask().rung == 1
        load.now += 1
    assert degradation.present(600, 600, ask().options).rung == 1


def test_before_the_measurement_nothing_is_degraded(
    ask: Callable[..., Step], load: Load, degradation: Degradation
) -> None:
    degradation.times = None
    load.wait = 9.0
    assert ask().rung is None


class TestThroughHttp:
    @pytest.fixture
    def server(self, start: Any) -> Iterator[Any]:
        with start(target_ms=2000.0, ladder=LADDER) as server:
            server.service.degradation.times = TIMES  # those of a detector that computes nothing are noise
            yield server

    def press(self, server: Any) -> None:
        server.service.degradation.ladder._wait = lambda: 9.0

    def test_the_answer_says_so_and_so_does_the_counter(self, server: Any, encoded: Callable[..., bytes]) -> None:
        image = encoded(size=(60, 90))
        calm = server.client.post("/detect", content=image).json()
        assert (calm["rung"], calm["attention"]["C"], calm["resized"]["height"]) == (0, 16, 64)
        assert "rung" not in calm["attention"]["reason"]
        self.press(server)
        late = server.client.post("/detect?attention=auto", content=image).json()
        assert (late["rung"], late["attention"]["C"]) == (2, 8)
        assert late["resized"]["height"] == 64 * 304 // 352
        assert late["attention"]["reason"].startswith("auto; rung 2 of the ladder (size=304,tangent:C=8), to answer")
        own = server.client.post("/detect?size=352", content=image).json()
        assert (own["rung"], own["resized"]["height"]) == (None, 64)
        png = server.client.post("/detect", content=image, headers={"accept": "image/png"})
        assert png.headers["x-act-detr-rung"] == "2"
        counts = [server.metric("act_detr_rung_images_total", rung=str(rung)) for rung in range(3)]
        assert counts == [1, 0, 2]
        assert server.metric("act_detr_auto_images_total", attention="tangent") == 4

    def test_the_model_card_and_the_gauge_show_the_present_rung(self, server: Any, png: bytes) -> None:
        card = server.client.get("/model").json()["ladder"]
        assert (card["target_ms"], card["rung"]) == (2000.0, 0)
        assert card["rungs"] == LADDER.split(";")
        assert card["times"][0] == {"pixels": 1000, "milliseconds": [1000.0, 750.0, 500.0], "useful": [0, 1, 2]}
        self.press(server)
        server.client.post("/detect", content=png)
        assert server.client.get("/model").json()["ladder"]["rung"] == server.metric("act_detr_rung") == 1

    def test_an_image_is_prepared_once_more_only_where_its_rung_is_another(self, server: Any, png: bytes) -> None:
        sizes: list[int] = []
        plain = server.detector.preprocess
        server.detector.preprocess = lambda image, size: sizes.append(size) or plain(image, size)
        server.client.post("/detect", content=png)
        self.press(server)
        server.client.post("/detect", content=png)
        assert sizes == [352, 352, 304]

    def test_what_is_compared_is_never_made_cheaper(self, server: Any, png: bytes) -> None:
        self.press(server)
        sides = server.client.post("/compare?left=auto&right=exact", content=png).json()
        assert [sides[side]["rung"] for side in ("left", "right")] == [None, None]

    def test_the_images_of_a_batch_are_made_cheaper_one_by_one(self, server: Any, png: bytes) -> None:
        self.press(server)
        body = [("image", ("page.png", png))] * 2
        results = server.client.post("/detect/batch", files=body).json()["results"]
        assert [result["rung"] for result in results] == [2, 2]


def test_without_a_target_the_ladder_is_absent(service: Any, png: bytes) -> None:
    assert service.service.degradation is None
    assert service.client.get("/model").json()["ladder"] is None
    assert service.client.post("/detect", content=png).json()["rung"] is None
    assert service.metric("act_detr_rung") == 0


def test_the_measurement_is_part_of_the_warm_up(start: Any) -> None:
    with start(target_ms=2000.0) as server:
        times = server.service.degradation.times
        assert [len(row) for row in times.seconds] == [2, 2, 2]
