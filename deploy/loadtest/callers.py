"""Callers that each keep a connection and send an image when they have the last answer.

Where the service and its callers share the cores, whatever the callers compute is missing from the service's figures.
These cost half of what callers with `deploy.loadtest.exchange` do, which opens a connection for every call.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection

from deploy.loadtest.exchange import Target, now
from deploy.loadtest.load import GRACE_SECONDS, Call, Mix


@dataclass(frozen=True, slots=True)
class Answered:
    """Seconds that a caller waited for an answer, and the sum of the stages that its `Server-Timing` names."""

    seconds: float
    stages: float


def keep_calling(target: Target, mix: Mix, callers: int, seconds: float) -> tuple[list[Answered], float]:
    """Let callers send calls for `seconds`; return all answers and the seconds until the last one.

    Raises RuntimeError for an answer that is not a 200.
    """
    began = now()
    with ThreadPoolExecutor(callers) as pool:
        each = [pool.submit(_call, target, mix, began + seconds, seed) for seed in range(callers)]
        answers = [answer for one in each for answer in one.result()]
    return answers, now() - began


def _call(target: Target, mix: Mix, end: float, seed: int) -> list[Answered]:
    rng = random.Random(seed)
    answers: list[Answered] = []
    with closing(HTTPConnection(target.host, target.port)) as connection:
        while not answers or now() < end:
            answers.append(_answer(connection, target, mix.draw(rng, "closed", 0.0)))
    return answers


def _answer(connection: HTTPConnection, target: Target, call: Call) -> Answered:
    connection.timeout = call.deadline_ms / 1e3 + GRACE_SECONDS
    sent = now()
    connection.request("POST", call.path, call.body, dict(target.headers))
    response = connection.getresponse()
    body = response.read()
    seconds = now() - sent
    if response.status != 200:
        raise RuntimeError(f"the service answered {response.status}: {body[:500]!r}")
    return Answered(seconds, _stages(response.headers["server-timing"]))


def _stages(server_timing: str) -> float:
    """Return the seconds of `decode;dur=4.1, ..., total;dur=45.0`, which are in milliseconds, without the total."""
    stages = (part.strip().split(";dur=") for part in server_timing.split(","))
    return sum(float(milliseconds) for name, milliseconds in stages if name != "total") / 1e3
