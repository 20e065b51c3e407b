"""Load: an open loop, whose calls are sent when they are due, and a closed loop, whose callers wait for each answer.

The latency of a call counts from the time at which it was due, not from the one at which it was sent: if the generator
falls behind, or the service stops taking connections, the wait is part of the figures (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from deploy.loadtest.exchange import Target, exchange, now
from deploy.local_server import SAMPLE_PAGE

SIZES: Final = ((1056, 816), (816, 1056), (600, 450), (400, 300), (1400, 1000), (320, 720))
"""Height and width of the generated pages, in pixels."""
QUERIES: Final = (
    *("attention=exact", "attention=act", "attention=act&L=16&r=2", "attention=tangent", "attention=merge"),
    "attention=auto",
)
GRACE_SECONDS: Final = 30.0
"""How long after its deadline a call is given up."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A time of `seconds` with `rate` calls a second."""

    name: str
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is `due` so many seconds after the start. `comes_back`: it heeds a refusal's Retry-After."""

    phase: str
    due: float
    path: str
    body: bytes
    deadline_ms: float
    comes_back: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt at a call. Times are seconds from the start of the run.

    `status` is 0 without an answer; `failure` then says why. `attempt` counts from 0. `request_id` identifies the
    attempt in the service's log.
    """

    phase: str
    due: float
    sent: float
    ended: float
    status: int
    failure: str
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
        """Whether the answer is a 200."""
        return self.status == 200

    @property
    def result(self) -> str:
        """The failure, or else the status."""
        return self.failure or str(self.status)


@dataclass(frozen=True, slots=True)
class Mix:
    """The images, queries and deadlines in milliseconds that calls have, each drawn evenly."""

    images: tuple[bytes, ...]
    queries: tuple[str, ...] = QUERIES
    deadlines_ms: tuple[float, ...] = (30_000.0,)

    def draw(self, rng: random.Random, phase: str, due: float, come_back: float = 0.0) -> Call:
        """Return a call; a share `come_back` of them heeds Retry-After."""
        deadline = rng.choice(self.deadlines_ms)
        path = f"/detect?{rng.choice(self.queries)}&deadline_ms={deadline:g}"
        return Call(phase, due, path, rng.choice(self.images), deadline, rng.random() < come_back)


def mixed_images(seed: int = 0) -> tuple[bytes, ...]:
    """Return the sample page and a generated page of each of SIZES, as JPEG and PNG by turns."""
    from models.data.pages import render_page

    images = [SAMPLE_PAGE.read_bytes()]
    for index, (height, width) in enumerate(SIZES):
        buffer = BytesIO()
        render_page(seed + index, height, width).image.save(buffer, "JPEG" if index % 2 else "PNG")
        images.append(buffer.getvalue())
    return tuple(images)


def schedule(phases: Sequence[Phase], mix: Mix, seed: int, come_back: float = 0.0) -> list[Call]:
    """Return the calls of the phases, one phase after the other, at Poisson times; the same for the same arguments.

    Raises ValueError for a rate that is not above 0.
    """
    rng = random.Random(seed)
    calls, begins = [], 0.0
    for phase in phases:
        if not phase.rate > 0:
            raise ValueError(f"the rate must be above 0, not {phase.rate}")
        due = rng.expovariate(phase.rate)
        while due < phase.seconds:
            calls.append(mix.draw(rng, phase.name, begins + due, come_back))
            due += rng.expovariate(phase.rate)
        begins += phase.seconds
    return calls


Again = Callable[[Call, Outcome], float | None]
"""Return the seconds after which a call is attempted again, given its last outcome; None: not again."""


def never(call: Call, outcome: Outcome) -> None:
    """Attempt a call once."""


def after_retry_after(call: Call, outcome: Outcome) -> float | None:
    """Attempt a refused call that comes back once more, after the time that the refusal names."""
    return outcome.retry_after if call.comes_back and outcome.attempt == 0 else None


async def open_loop(
    target: Target, calls: Sequence[Call], *, start: float, again: Again = after_retry_after
) -> list[Outcome]:
    """Send every call when it is due, from `start` on the clock `now`; return all attempts in order of `due`."""
    tasks = []
    for call in calls:
        await asyncio.sleep(max(0.0, start + call.due - now()))
        tasks.append(asyncio.create_task(_attempts(target, call, start, again)))
    outcomes = [outcome for attempts in await asyncio.gather(*tasks) for outcome in attempts]
    return sorted(outcomes, key=lambda outcome: outcome.due)


async def closed_loop(
    target: Target, mix: Mix, *, callers: int, stop: asyncio.Event, seed: int = 0, again: Again = never
) -> list[Outcome]:
    """Let `callers` send a call each as soon as they have the last answer, until `stop`; return all attempts."""
    start = now()

    async def caller(index: int) -> list[Outcome]:
        rng, outcomes = random.Random(f"{seed}:{index}"), []
        while not stop.is_set():
            outcomes += await _attempts(target, mix.draw(rng, "closed", now() - start), start, again)
        return outcomes

    return [outcome for outcomes in await asyncio.gather(*map(caller, range(callers))) for outcome in outcomes]


async def closed_loop_for(seconds: float, target: Target, mix: Mix, *, callers: int, seed: int = 0) -> list[Outcome]:
    """Run a closed loop for `seconds`; return the attempts that ended in that time."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    outcomes = await closed_loop(target, mix, callers=callers, stop=stop, seed=seed)
    return [outcome for outcome in outcomes if outcome.ended <= seconds]


async def capacity(target: Target, mix: Mix, callers: int, seconds: float, seed: int) -> float:
    """Return the accepted calls a second of a closed loop. Raises SystemExit where the service accepts none."""
    await closed_loop_for(min(3.0, seconds), target, mix, callers=callers, seed=seed + 1)  # warms up
    outcomes = await closed_loop_for(seconds, target, mix, callers=callers, seed=seed)
    accepted = sum(outcome.accepted for outcome in outcomes)
    if not accepted:
        raise SystemExit("the service accepted nothing while its capacity was measured")
    return accepted / seconds


async def _attempts(target: Target, call: Call, start: float, again: Again) -> list[Outcome]:
    outcomes = [await _attempt(target, call, start, call.due, 0)]
    while (pause := again(call, outcomes[-1])) is not None:
        due = outcomes[-1].ended + pause
        await asyncio.sleep(max(0.0, start + due - now()))
        outcomes.append(await _attempt(target, call, start, due, len(outcomes)))
    return outcomes


async def _attempt(target: Target, call: Call, start: float, due: float, attempt: int) -> Outcome:
    patience, request_id = call.deadline_ms / 1e3 + GRACE_SECONDS, uuid.uuid4().hex
    answer = await exchange(target, "POST", call.path, call.body, patience=patience, request_id=request_id)
    return Outcome(
        phase=call.phase,
        due=due,
        sent=answer.sent - start,
        ended=answer.ended - start,
        status=answer.status,
        failure=answer.failure,
        retry_after=float(answer.headers["retry-after"]) if "retry-after" in answer.headers else None,
        deadline_ms=call.deadline_ms,
        attempt=attempt,
        request_id=request_id,
    )
