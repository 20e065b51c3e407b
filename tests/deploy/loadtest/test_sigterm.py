"""What a stop under load may and may not do, judged on made-up outcomes and on a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest import sigterm
from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import CUT, REFUSED


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing(command: Callable[..., dict[str, Any]]) -> None:
    figures = command(sigterm.main, "--seconds", "4", "--capacity-seconds", "2", "--callers", "3")
    found = {promise["name"]: promise for promise in figures["promises"]}
    assert found["what was accepted is answered"]["holds"], found
    assert figures["exit_status"] == 0


def stopped(*outcomes: Outcome, status: int = 0, ended: float = 20.0) -> set[str]:
    """Return the promises that a stop broke whose signal came at 10 s. Accepted: those that say so in their id."""
    taken = frozenset(one.request_id for one in outcomes if one.request_id)
    stop = sigterm.Stop(outcomes, 10.0, ended, status, 30.0, taken)
    return {promise.name for promise in sigterm.judge(stop) if not promise.holds}


def test_what_a_stop_may_and_may_not_do(outcome: Callable[..., Any]) -> None:
    waiting = outcome(9, 2, request_id="accepted")
    drained = outcome(11, 0.1, 503)
    closed = outcome(15, 0, 0, failure=REFUSED)
    assert stopped(waiting, drained, outcome(14.8, 0.2, 0, failure=CUT), closed) == set()
    accepted, sent = "what was accepted is answered", "what had been sent is answered, if only with 503"
    later = "what comes later is refused cleanly"
    assert stopped(outcome(9, 2, 0, failure=CUT, request_id="too"), waiting) == {accepted, sent}
    assert stopped(outcome(9, 2, 0, failure=CUT), waiting) == {sent}
    assert stopped(drained) == {accepted}
    assert stopped(waiting, outcome(9, 2, 504)) == {sent}
    assert stopped(waiting, outcome(11, 0.1)) == {later}
    assert stopped(waiting, outcome(12, 0.1, 0, failure=CUT), closed) == {later}
    assert stopped(waiting, status=-15) == {"it ends with status 0"}
    assert stopped(waiting, ended=51.0) == {"it ends in time"}
