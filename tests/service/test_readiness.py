"""Admission: what is refused before its body is read."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from service.errors import QueueFull
from service.readiness import Admission
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now


class Ready:
    def refusal(self) -> None:
        return None


@dataclass
class Line:
    full: bool = False
    wait: float = 0.0
    seconds_per_image: float = 0.0


def admission(line: Line, limit: int = 100) -> Admission:
    ready: Any = Ready()
    return Admission(ready, line, limit, Metrics())


def under_way(door: Admission, count: int) -> ExitStack:
    stack = ExitStack()
    for _ in range(count):
        stack.enter_context(door.admit(now() + 1000))
    return stack


def test_what_the_deadline_leaves_no_time_for_is_refused_with_the_wait() -> None:
    door = admission(Line(seconds_per_image=2.0))
    with under_way(door, 4):
        with door.admit(now() + 10.5):  # 8 s of work, and a quarter for caution
            pass
        with pytest.raises(QueueFull, match="deadline allows") as refused, door.admit(now() + 9.5):
            pass
        assert refused.value.retry_after == 8
    with door.admit(now() + 0.1):
        pass


def test_what_waits_for_the_device_counts_where_it_is_more() -> None:
    door = admission(Line(wait=30.0, seconds_per_image=2.0))
    with pytest.raises(QueueFull) as refused, door.admit(now() + 20):
        pass
    assert refused.value.retry_after == 30


def test_who_still_sends_holds_nobody_up() -> None:
    door = admission(Line(seconds_per_image=2.0))
    with under_way(door, 4):
        with door.reading(), door.reading(), door.reading(), door.admit(now() + 3):
            pass
        with pytest.raises(QueueFull), door.admit(now() + 3):
            pass


def test_a_deadline_that_has_passed_is_not_the_lines_fault() -> None:
    with admission(Line()).admit(now() - 1):
        pass


def test_no_more_than_so_many_are_under_way() -> None:
    door = admission(Line(seconds_per_image=0.5), limit=3)
    with under_way(door, 3), pytest.raises(QueueFull, match="Too many") as refused, door.admit(now() + 1000):
        pass
    assert refused.value.retry_after == 2
    assert door.inflight == 0
