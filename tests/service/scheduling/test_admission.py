"""Admission: requests that are refused before their bodies are read."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from service.errors import Draining, QueueFull
from service.scheduling.admission import Admission


@dataclass
class Backlog:
    """A queue on one stream: `known` seconds of work in so many `images`; of unknown cost, an image takes `mean`."""

    room: int = 100
    known: float = 0.0
    images: int = 0
    mean: float = 0.0

    def wait(self, unknown: int = 0) -> float:
        return self.known + unknown * self.mean


@dataclass
class Bench:
    """An admission at time 0; `counts` are the numbers of requests under way that it reported."""

    backlog: Backlog
    limit: int = 100
    refusal: Draining | None = None
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission = Admission(lambda: self.refusal, self.backlog, self.limit, self.counts.append, lambda: 0.0)

    def under_way(self, count: int) -> ExitStack:
        stack = ExitStack()
        for _ in range(count):
            stack.enter_context(self.admission.admit(1000))
        return stack

    def refused(self, deadline: float = 1000, images: int = 1) -> QueueFull:
        with pytest.raises(QueueFull) as refused, self.admission.admit(deadline, images):
            pass
        return refused.value


def test_a_deadline_that_the_requests_under_way_exceed_is_refused() -> None:
    bench = Bench(Backlog(mean=2.0))
    with bench.under_way(4):
        with bench.admission.admit(10.5):  # 8 s of work, and a safety factor of 1.25
            pass
        refused = bench.refused(9.5)
        assert "deadline allows" in str(refused)
        assert refused.retry_after == 8
    with bench.admission.admit(0.1):
        pass


def test_images_that_the_queue_knows_count_with_their_own_cost() -> None:
    bench = Bench(Backlog(mean=2.0))
    with bench.under_way(4):
        bench.backlog.images, bench.backlog.known = 3, 24.0
        assert bench.refused(20).retry_after == 26  # three large ones, and one that is still decoded


def test_a_request_of_several_images_is_not_counted_less_than_they_are() -> None:
    bench = Bench(Backlog(mean=2.0))
    with bench.under_way(1):
        bench.backlog.images, bench.backlog.known = 32, 30.0
        assert bench.refused(20).retry_after == 30


def test_a_request_that_needs_the_device_twice_counts_as_two_images() -> None:
    bench = Bench(Backlog(mean=2.0))
    with bench.admission.admit(1000, images=2):
        assert bench.admission.wait == 4
        with bench.admission.reading(2):
            assert bench.admission.wait == 0
        bench.backlog.images, bench.backlog.known = 2, 3.0
        assert bench.admission.wait == 3
        assert bench.admission.inflight == 1
    assert bench.admission.wait == 3


def test_of_a_request_that_needs_the_device_twice_both_have_to_fit_and_begin_in_time() -> None:
    assert "2 images" in str(Bench(Backlog(room=1)).refused(images=2))
    bench = Bench(Backlog(mean=2.0))
    with bench.under_way(1):
        assert bench.refused(4.9, images=2).retry_after == 4  # the second begins after two others
        with bench.admission.admit(5.1, images=2):
            pass


def test_requests_whose_bodies_still_arrive_do_not_count_in_the_wait() -> None:
    bench = Bench(Backlog(mean=2.0))
    reading = bench.admission.reading
    with bench.under_way(4):
        with reading(), reading(), reading(), bench.admission.admit(3):
            pass
        bench.refused(3)


def test_a_deadline_that_has_passed_is_left_to_the_queue() -> None:
    with Bench(Backlog()).admission.admit(-1):
        pass


def test_a_full_queue_and_a_service_that_is_not_ready_refuse() -> None:
    assert Bench(Backlog(room=0, known=7.0)).refused().retry_after == 7
    with pytest.raises(Draining), Bench(Backlog(room=0), refusal=Draining()).admission.admit(1000):
        pass


def test_the_number_of_requests_under_way_is_bounded_and_reported() -> None:
    bench = Bench(Backlog(mean=0.5), limit=3)
    with bench.under_way(3):
        refused = bench.refused()
        assert "Too many" in str(refused)
        assert refused.retry_after == 2
    assert bench.admission.inflight == 0
    assert bench.counts == [1, 2, 3, 2, 1, 0]
