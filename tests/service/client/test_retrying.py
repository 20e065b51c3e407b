from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from service.client.retrying import Attempts, RetryPolicy, may_pass, retry_after

POLICY = RetryPolicy(attempts=5, total_seconds=100, first_delay=1, max_delay=4)
PROBLEM = b'{"type": "internal-error", "title": "The service failed", "status": 500}'


def answer(status: int, content: bytes = b"", **headers: str) -> httpx.Response:
    raw = {name.replace("_", "-"): text.encode("latin-1") for name, text in headers.items()}
    return httpx.Response(status, headers=raw, content=content)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempts(policy: RetryPolicy = POLICY, clock: Clock | None = None, draw: float = 1.0) -> Attempts:
    return Attempts(policy, clock or Clock(), lambda: draw)


def test_pauses_double_up_to_the_longest_and_attempts_end() -> None:
    one = attempts()
    assert [one.pause_after(answer(503)) for _ in range(5)] == [1, 2, 4, 4, None]


def test_pauses_are_random_from_nothing_on() -> None:
    assert attempts(draw=0.0).pause_after(answer(503)) == 0
    assert attempts(draw=0.25).pause_after(answer(503)) == 0.25


def test_what_the_service_asks_for_is_waited_out_and_a_random_part_of_as_much_again() -> None:
    assert attempts(draw=0.0).pause_after(answer(429, retry_after="7")) == 7
    assert attempts(draw=0.5).pause_after(answer(429, retry_after="8")) == 12


def test_time_counts_from_the_first_refusal() -> None:
    clock = Clock()
    one = attempts(clock=clock)
    clock.now += 500  # a long first attempt
    assert one.pause_after(answer(503)) == 1
    clock.now += 99
    assert one.pause_after(answer(503)) == 1  # 2, were more time left
    clock.now += 1
    assert one.pause_after(answer(503)) is None


def test_a_longer_pause_than_there_is_time_for_is_not_begun() -> None:
    assert attempts().pause_after(answer(429, retry_after="101")) is None
    assert attempts(replace(POLICY, attempts=1)).pause_after(answer(429)) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry_after": "12"}, 12),
        ({"retry_after": " 3 "}, 3),
        ({"retry_after": "Fri, 27 Nov 2026 10:00:30 GMT", "date": "Fri, 27 Nov 2026 10:00:00 GMT"}, 30),
        ({"retry_after": "Fri, 27 Nov 2026 10:00:00 GMT", "date": "Fri, 27 Nov 2026 10:00:30 GMT"}, 0),
        ({"retry_after": "Fri, 27 Nov 1998 10:00:30 GMT"}, 0),
        ({"retry_after": "soon"}, 0),
        ({"retry_after": "-1"}, 0),
        ({"retry_after": "\xb2"}, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(answer(429, **headers)) == seconds


@pytest.mark.parametrize(
    ("one", "again"),
    [
        (answer(200), False),
        (answer(400), False),
        (answer(401), False),
        (answer(404), False),
        (answer(408), False),
        (answer(422), False),
        (answer(429), True),
        (answer(500, PROBLEM, content_type="application/problem+json"), False),
        (answer(500, b"<html>"), True),
        (answer(502, b"<html>"), True),
        (answer(503), True),
        (answer(504), False),
        (answer(507), False),
        (httpx.ConnectError("refused"), True),
        (httpx.ConnectTimeout("late"), True),
        (httpx.ReadError("reset"), True),
        (httpx.RemoteProtocolError("cut off"), True),
        (httpx.ReadTimeout("late"), False),
        (httpx.UnsupportedProtocol("ftp"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(one: httpx.Response | httpx.RequestError, again: bool) -> None:
    assert may_pass(one) == again
    assert (attempts().pause_after(one) is not None) == again


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"total_seconds": -1}, {"first_delay": -1}, {"max_delay": -1}])
def test_a_policy_without_an_attempt_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        RetryPolicy(**wrong)
