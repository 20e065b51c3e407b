"""Callers: open loop, who call when their time has come, and closed loop, who call again once they have an answer.

The latency of a call of the open loop counts from the time at which it was due, not from the one at which it was
sent: if the generator falls behind, or the service stops taking connections, the wait is in the figures and not lost
with the calls that were not made (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.loadtest.exchange import Answer, Target, exchange, now
from deploy.loadtest.traffic import Call, Mix, draw


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt of a call and what came of it. Times are seconds from the start of the run.

    `due` is when it was to be sent, `sent` when it was, `ended` when the answer was whole. `status` is 0 without an
    answer: `failure` then says why. `problem` and `detail` are those of an error's body, `retry_after` is in seconds.
    `attempt` counts from 0. `request_id` is what the service knows the attempt by.
    """

    phase: str
    path: str
    due: float
    sent: float
    ended: float
    status: int
    failure: str
    problem: str
    detail: str
    retry_after: float | None
    deadline_ms: float
    attempt: int
    request_id: str = ""

    @property
    def latency(self) -> float:
        """Seconds from when it was due to the end of the answer."""
        return self.ended - self.due

    @property
    def lag(self) -> float:
        """Seconds by which the generator itself was late."""
        return self.sent - self.due

    @property
    def accepted(self) -> bool:
        """Whether it got what it asked for."""
        return self.status == 200


Again = Callable[[Call, Outcome], float | None]
"""Of a call and its last attempt: seconds to wait before the next one, None for no more."""


def never(call: Call, outcome: Outcome) -> None:
    """One attempt is all."""


def as_told(call: Call, outcome: Outcome) -> float | None:
    """Those chosen try once more, after the time that the refusal names."""
    return outcome.retry_after if call.chosen and outcome.attempt == 0 else None


async def open_loop(
    target: Target, calls: Sequence[Call], *, start: float, grace: float = 30.0, again: Again = never
) -> list[Outcome]:
    """Make every call when it is due, counted from `start` on the clock `now`, and wait until all have ended.

    A call without an answer is given up `grace` seconds after its deadline. Returns every attempt, in order of `due`.
    """
    running = []
    for call in calls:
        await asyncio.sleep(max(0.0, start + call.due - now()))
        running.append(asyncio.create_task(_attempts(target, call, start, grace, again)))
    ended = await asyncio.gather(*running)
    return sorted((outcome for attempts in ended for outcome in attempts), key=lambda outcome: outcome.due)


async def closed_loop(target: Target, mix: Mix, *, callers: int, seconds: float, seed: int) -> list[Outcome]:
    """Let `callers` call for `seconds`, each as soon as it has its last answer. Returns what ended in that time."""
    start = now()

    async def one(caller: int) -> list[Outcome]:
        rng, ended = random.Random(f"{seed}:{caller}"), []
        while now() - start < seconds:
            call = draw(mix, rng, "closed", now() - start)
            ended.append(await _attempt(target, call, start, 30.0, call.due, 0))
        return ended

    outcomes = await asyncio.gather(*(one(caller) for caller in range(callers)))
    return [outcome for mine in outcomes for outcome in mine if outcome.ended <= seconds]


async def _attempts(target: Target, call: Call, start: float, grace: float, again: Again) -> list[Outcome]:
    attempts = [await _attempt(target, call, start, grace, call.due, 0)]
    while (pause := again(call, attempts[-1])) is not None:
        due = attempts[-1].ended + pause
        await asyncio.sleep(max(0.0, start + due - now()))
        attempts.append(await _attempt(target, call, start, grace, due, len(attempts)))
    return attempts


async def _attempt(target: Target, call: Call, start: float, grace: float, due: float, attempt: int) -> Outcome:
    patience = call.deadline_ms / 1e3 + grace
    request_id = uuid.uuid4().hex
    answer = await exchange(target, "POST", call.path, call.body, patience=patience, request_id=request_id)
    problem, detail = _problem(answer)
    retry_after = answer.headers.get("retry-after")
    return Outcome(
        call.phase,
        call.path,
        due,
        answer.sent - start,
        answer.ended - start,
        answer.status,
        answer.failure,
        problem,
        detail,
        None if retry_after is None else float(retry_after),
        call.deadline_ms,
        attempt,
        request_id,
    )


def _problem(answer: Answer) -> tuple[str, str]:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return "", ""
    body = json.loads(answer.body)
    return str(body.get("type", "")), str(body.get("detail", ""))
