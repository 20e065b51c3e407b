"""The load generator: its arithmetic by hand, its callers against a server that misbehaves, its runs against ours."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.config import BackboneConfig, pages_small
from models.detr.detr import Detr
from models.weights import save_checkpoint

LOADTEST = Path(__file__).parents[2] / "deploy" / "loadtest"
sys.path.append(str(LOADTEST))

import figures_table  # noqa: E402
import overload  # noqa: E402
import promises  # noqa: E402
import sigterm  # noqa: E402
from callers import Outcome, as_told, closed_loop, never, open_loop  # noqa: E402
from exchange import CUT, EXTRA, REFUSED, TIMEOUT, Target, exchange, now  # noqa: E402
from summary import nearest, percentile, percentiles, summarize  # noqa: E402
from traffic import Call, Mix, Phase, arrival_times, schedule  # noqa: E402
from watch import Sample, Watch, answered, series, slope  # noqa: E402

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
FULL = json.dumps({"type": "queue-full", "detail": "Too many."}).encode()
FULL = (
    b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
) % (len(FULL), FULL)


@asynccontextmanager
async def serving(script: Script) -> Any:
    """A server that reads each request and then does what the script says, with the request's number, from 0."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        mine, count = count, count + 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        await script(writer, mine)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])


async def accept(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(OK)


def calls(*due: float, chosen: bool = False) -> list[Call]:
    return [Call("load", at, "/detect?attention=exact", b"image", 5000.0, chosen) for at in due]


def outcome(due: float, latency: float, status: int = 200, **other: Any) -> Outcome:
    plain = Outcome("overload", "/detect", due, due, due + latency, status, "", "", "", None, 1000.0, 0)
    return replace(plain, **other)


@pytest.mark.parametrize(
    ("sent", "status", "failure"),
    [
        (OK, 200, ""),
        (FULL, 429, ""),
        (b"", 0, CUT),
        (OK[:-1], 0, CUT),
        (OK + OK, 200, EXTRA),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, ""),
        (b"no HTTP\r\n\r\n", 0, CUT),
    ],
)
def test_an_exchange_tells_whole_answers_from_broken_ones(sent: bytes, status: int, failure: str) -> None:
    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(sent)

    async def run() -> Any:
        async with serving(script) as target:
            return await exchange(target, "POST", "/detect", b"x" * 300_000, patience=10)

    answer = asyncio.run(run())
    assert (answer.status, answer.failure) == (status, failure)
    assert answer.ended >= answer.sent


def test_an_exchange_gives_up_and_notices_closed_ports() -> None:
    async def silent(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.5)

    async def run() -> tuple[str, str]:
        async with serving(silent) as target:
            hung = await exchange(target, "POST", "/detect", b"x", patience=0.1)
        return hung.failure, (await exchange(target, "GET", "/", patience=10)).failure

    assert asyncio.run(run()) == (TIMEOUT, REFUSED)


@pytest.mark.parametrize("url", ["https://host:1", "host:1", "http://host/path", "http://"])
def test_a_target_is_a_plain_address(url: str) -> None:
    with pytest.raises(ValueError, match="is not http://host:port"):
        Target.of(url)


def test_a_key_is_sent_as_bearer() -> None:
    target = Target.of("http://host:81", "secret")
    assert (target.host, target.port, target.headers) == ("host", 81, (("authorization", "Bearer secret"),))


def test_constant_arrivals_are_even_and_poisson_ones_have_the_rate() -> None:
    assert list(arrival_times(4, 1, "constant", random.Random(0))) == [0, 0.25, 0.5, 0.75]
    times = list(arrival_times(10, 1000, "poisson", random.Random(0)))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.03)
    assert variance == pytest.approx(0.01, rel=0.1)  # exponential: the square of the mean
    with pytest.raises(ValueError, match="above 0"):
        list(arrival_times(0, 1, "constant", random.Random(0)))


def test_a_schedule_is_in_order_mixed_and_always_the_same() -> None:
    mix = Mix((b"one", b"two"), ("attention=exact", "attention=act"), (100.0, 200.0))
    phases = [Phase("calm", 20, 2), Phase("overload", 100, 3)]
    made = schedule(phases, mix, seed=1, chosen_share=0.5)
    assert made == schedule(phases, mix, seed=1, chosen_share=0.5)
    assert made != schedule(phases, mix, seed=2, chosen_share=0.5)
    assert [call.due for call in made] == sorted(call.due for call in made)
    assert all((call.due < 2) == (call.phase == "calm") for call in made)
    assert {(call.path, call.body) for call in made} == {
        (f"/detect?attention={attention}&deadline_ms={deadline}", body)
        for attention in ("exact", "act")
        for deadline in (100, 200)
        for body in mix.images
    }
    assert 0 < sum(call.chosen for call in made) < len(made)


def test_latency_counts_from_when_a_call_was_due_not_from_when_the_server_was_free() -> None:
    """The server stalls once. Callers who wait for their turn would see one slow answer; all that were due do."""
    freed = asyncio.Event()

    async def stall(writer: asyncio.StreamWriter, number: int) -> None:
        await freed.wait()
        writer.write(OK)

    async def run() -> tuple[list[Outcome], float]:
        async with serving(stall) as target:
            start = now()
            calling = asyncio.create_task(open_loop(target, calls(0, 0.1, 0.2, 0.3), start=start))
            await asyncio.sleep(0.5)
            freed.set()
            until = now() - start
            return await calling, until

    outcomes, until = asyncio.run(run())
    assert [one.due for one in outcomes] == [0, 0.1, 0.2, 0.3]
    assert all(one.latency >= until - one.due for one in outcomes)


def test_the_generators_own_delay_is_in_the_latency() -> None:
    async def run() -> list[Outcome]:
        async with serving(accept) as target:
            start = now()
            calling = asyncio.create_task(open_loop(target, calls(0.1, 0.15), start=start))
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # the event loop hangs while calls are due
            return await calling

    outcomes = asyncio.run(run())
    assert all(one.lag >= 0.19 for one in outcomes)
    assert all(one.latency >= one.lag for one in outcomes)


def test_callers_who_were_chosen_come_back_once_when_told() -> None:
    async def full_at_first(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(FULL if number == 0 else OK)

    async def run(chosen: bool, again: Any) -> list[Outcome]:
        async with serving(full_at_first) as target:
            return await open_loop(target, calls(0, chosen=chosen), start=now(), again=again)

    first, second = asyncio.run(run(True, as_told))
    assert (first.status, first.retry_after, first.problem, first.detail) == (429, 1.0, "queue-full", "Too many.")
    assert (second.status, second.attempt) == (200, 1)
    assert second.due == first.ended + 1
    assert second.sent >= second.due
    assert len(asyncio.run(run(False, as_told))) == 1
    assert len(asyncio.run(run(True, never))) == 1


def test_a_closed_loop_has_as_many_under_way_as_callers() -> None:
    under_way, most = 0, 0

    async def count(writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        writer.write(OK)

    async def run() -> list[Outcome]:
        async with serving(count) as target:
            return await closed_loop(target, Mix((b"x",)), callers=3, seconds=0.4, seed=0)

    outcomes = asyncio.run(run())
    assert most == 3
    assert all(one.accepted and one.ended <= 0.4 for one in outcomes)


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, q) for q in (0.5, 0.9, 0.99, 0.999, 1.0)] == [50, 90, 99, 100, 100]
    assert percentile([7.0], 0.5) == 7
    assert percentiles([]).p99 is None
    found = percentiles([3, 1, 2])
    assert (found.count, found.p50, found.p99, found.greatest) == (3, 2, 3, 3)


def test_a_summary_by_hand() -> None:
    outcomes = [
        outcome(0.0, 0.2),
        outcome(1.0, 0.4, sent=1.1),
        outcome(2.0, 0.01, 429, retry_after=3.0, problem="queue-full"),
        outcome(3.0, 0.01, 429, retry_after=1.0, problem="queue-full", detail="Full."),
        outcome(3.5, 5.0, 0, failure=CUT),
        outcome(3.6, 0.0, 0, failure=REFUSED),
        outcome(3.7, 0.2, 422, problem="bad-parameter", detail="r: 0"),
        outcome(5.01, 3.0, attempt=1),
    ]
    found = summarize(outcomes, 4)
    assert (found.sent, found.offered_per_s, found.accepted_per_s, found.lost) == (7, 1.75, 0.5, 1)
    assert found.by_status == {"200": 2, "422": 1, "429": 2, CUT: 1, REFUSED: 1}
    assert found.shares == {"200": 0.2857, "422": 0.1429, "429": 0.2857, CUT: 0.1429, REFUSED: 0.1429}
    assert (found.accepted_ms.p50, found.accepted_ms.p99, found.refused_ms.p50) == (200, 400, 10)
    assert found.generator_lag_ms.greatest == 100
    assert found.causes == {"422 bad-parameter": 1, "429 queue-full": 1, "429 queue-full: Full.": 1}
    told = found.retry_after
    assert (told.refusals, told.without, told.mean_said_s) == (2, 0, 2)
    assert told.mean_said_by_cause_s == {"429 queue-full": 3, "429 queue-full: Full.": 1}
    assert told.mean_wait_s == 0.4  # both were due nearest to the call of 1.0
    assert (told.retried, told.retried_accepted) == (1, 1)


def test_throughput_counts_until_the_backlog_has_been_answered() -> None:
    late = [outcome(at / 10, 8.0 - at / 10) for at in range(10)]  # all answered at 8 s
    assert summarize(late, 1).accepted_per_s == 1.25


def test_the_nearest_is_before_or_after() -> None:
    ordered = [outcome(at, 0.1) for at in (1.0, 2.0, 4.0)]
    assert [nearest(ordered, at).due for at in (0.0, 1.4, 1.6, 2.9, 3.1, 9.0)] == [1, 1, 2, 2, 4, 4]


def test_a_slope_by_hand() -> None:
    found = slope([0, 1, 2, 3], [1, 3, 2, 4])
    assert found.per_s == pytest.approx(0.8)
    assert found.high - found.per_s == pytest.approx(1.96 * 0.18**0.5)
    assert found.per_s - found.low == pytest.approx(1.96 * 0.18**0.5)
    with pytest.raises(ValueError, match="three samples"):
        slope([0, 1], [0, 1])
    with pytest.raises(ValueError, match="one time"):
        slope([1, 1, 1], [0, 1, 2])


def overloaded(outcomes: Sequence[Outcome], **other: Any) -> Any:
    """A run of 10 s of calm, 20 of overload, 20 of calm at a capacity of 10, with samples that are in order."""
    samples = [Sample(at + 0.5, 1e8, at, 5, 10, 0.01, 200, 0.01) for at in range(50)]
    calm = [outcome(at, 0.1, phase="before") for at in range(10)]
    after = [outcome(30 + at, 0.1, phase="after") for at in range(20)]
    plain = promises.Overload(10, 10, 20, 20, [*calm, *outcomes, *after], samples, max_queue=8, max_inflight=16)
    return replace(plain, **other)


GOOD = [
    *(outcome(10 + at / 10, 0.9) for at in range(200)),
    *(outcome(10 + at / 10, 0.01, 429, retry_after=1.0) for at in range(200)),
]


def broken(run: Any, told: dict[str, int] | None = None, errors: int | None = 0) -> set[str]:
    told = dict(Counter(str(one.status) for one in run.outcomes if one.status)) if told is None else told
    return {promise.name for promise in promises.judge(run, told, errors) if not promise.holds}


def test_a_good_run_breaks_no_promise() -> None:
    assert broken(overloaded(GOOD)) == set()


@pytest.mark.parametrize(
    ("added", "name"),
    [
        (outcome(15, 0.1, 0, failure=CUT), "every request gets exactly one answer"),
        (outcome(15, 0.1, failure=EXTRA), "every request gets exactly one answer"),
        (outcome(15, 0.1, 504), "what is not accepted gets 429 with Retry-After"),
        (outcome(15, 0.1, 429), "what is not accepted gets 429 with Retry-After"),
    ],
)
def test_one_bad_answer_breaks_a_promise(added: Outcome, name: str) -> None:
    assert broken(overloaded([*GOOD, added])) == {name}


def test_what_breaks_the_other_promises() -> None:
    slow = [replace(one, ended=one.due + 1.1) if one.accepted else one for one in GOOD]
    assert broken(overloaded(slow)) == {"accepted requests keep p99 within the deadline"}
    assert "accepted requests keep p99 within the deadline" in broken(overloaded([]))
    wrong = [one if one.accepted else replace(one, retry_after=30.0) for one in GOOD]
    assert broken(overloaded(wrong)) == {"Retry-After is right on average"}
    run = overloaded(GOOD)
    deep = [replace(sample, queue_depth=9) for sample in run.samples]
    assert broken(replace(run, samples=deep)) == {"the queue is bounded"}
    dead = [*run.samples[:-1], replace(run.samples[-1], live=0)]
    assert broken(replace(run, samples=dead)) == {"it stays live"}
    growing = [replace(sample, rss_bytes=1e8 + 2e6 * sample.at) for sample in run.samples]
    assert broken(replace(run, samples=growing)) == {"memory does not grow"}
    assert broken(replace(run, samples=run.samples[:3])) == {"memory does not grow"}
    assert broken(run, told={"200": 1}) == {"its metrics count what callers saw"}
    assert broken(run, errors=1) == {"it logs no error"}
    sluggish = [replace(one, ended=one.due + 0.5) if one.phase == "after" else one for one in run.outcomes]
    assert broken(replace(run, outcomes=sluggish)) == {"back to normal at once"}


def test_recovery_counts_from_the_end_of_the_overload() -> None:
    run = overloaded(GOOD)
    assert promises.recovery_seconds(run) == 0
    slow = [replace(one, ended=one.due + 2) if 30 <= one.due < 34 else one for one in run.outcomes]
    assert promises.recovery_seconds(replace(run, outcomes=slow)) == 4
    late = [outcome(29.9, 0.9 + at / 100) for at in range(18)]
    # With those of GOOD that ended later: 27 in all, worked off at 10 - 1 a second.
    ended_later = sum(1 for one in GOOD if one.accepted and one.ended > 30)
    assert promises.backlog_seconds(overloaded([*GOOD, *late])) == pytest.approx((18 + ended_later) / 9)


def test_metrics_are_read_from_the_real_exposition() -> None:
    from service.metrics import Metrics

    metrics = Metrics()
    metrics.queue_depth.set(3)
    metrics.request_duration.labels("/detect", "act", "200").observe(0.1)
    metrics.request_duration.labels("/detect", "none", "429").observe(0.1)
    metrics.request_duration.labels("/readyz", "none", "200").observe(0.1)
    body, _ = metrics.render("")

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def run() -> tuple[Counter[str], Watch]:
        async with serving(script) as target:
            watch = Watch(target, now(), every=0.01)
            watching = asyncio.create_task(watch.run())
            counted = await answered(target)
            watch.stop()
            await watching
            return counted, watch

    counted, watch = asyncio.run(run())
    assert counted == {"200": 1, "429": 1}
    assert series(body.decode())["act_detr_queue_depth"] == 3
    sample = watch.samples[0]
    assert (sample.queue_depth, sample.inflight, sample.live, watch.missed) == (3, 0, 200, 0)
    assert sample.rss_bytes > 1e6


def test_the_document_has_the_figures_that_were_committed() -> None:
    document = figures_table.DOCUMENT.read_text(encoding="utf-8")
    assert figures_table.inserted(document, figures_table.markdown()) == document
    with pytest.raises(ValueError, match="no place"):
        figures_table.inserted("nothing here", "table")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a checkpoint of a small model with random weights."""
    config = replace(
        pages_small(),
        name="small-random",
        backbone=BackboneConfig("basic", (1, 1, 1), width=8),
        hidden_dim=32,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward_dim=32,
        queries=5,
        shortest_side=48,
        longest_side=64,
    )
    path = tmp_path_factory.mktemp("checkpoint") / "small-random.safetensors"
    save_checkpoint(path, Detr(config).state_dict(), config)
    return path


@pytest.fixture
def command(
    small: Path, encoded: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a program's `main` against the small model and returns the JSON that it wrote."""
    settings = {"MODEL": str(small), "DEVICE": "cpu", "THREADS": "1", "MAX_QUEUE": "6", "MAX_INFLIGHT": "12"}
    for name, value in settings.items():
        monkeypatch.setenv(f"ACT_DETR_{name}", value)
    image, output = tmp_path / "image.png", tmp_path / "figures.json"
    image.write_bytes(encoded())

    def run(main: Callable[[list[str]], None], *arguments: str) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            main([*arguments, "--image", str(image), "--output", str(output)])
        figures: dict[str, Any] = json.loads(output.read_text())
        return figures

    return run


TIMELESS = {
    "every request gets exactly one answer",
    "what is not accepted gets 429 with Retry-After",
    "the queue is bounded",
    "its metrics count what callers saw",
    "it logs no error",
}
"""The promises that hold on a machine of any speed."""


@pytest.mark.slow
def test_overload_is_refused_and_nothing_is_lost(
    command: Callable[..., dict[str, Any]], tmp_path: Path, small: Path
) -> None:
    lengths = ("--seconds", "5", "--calm-seconds", "2", "--capacity-seconds", "2")
    figures = command(overload.main, "--factor", "5", "--callers", "3", "--deadline-ms", "200000", *lengths)
    found = {promise["name"]: promise for promise in figures["promises"]}
    assert {name for name in TIMELESS if not found[name]["holds"]} == set(), found
    during = figures["phases"]["overload"]
    assert during["by_status"].get("429", 0) > 0
    assert set(during["by_status"]) == {"200", "429"}
    assert figures["circumstances"]["served"]["name"] == "small-random"
    table = tmp_path / "results"
    table.mkdir()
    (table / "overload.json").write_text(json.dumps(figures))
    assert f"| overload | overload | {during['sent']} |" in figures_table.markdown(table)


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


def test_what_a_stop_may_and_may_not_do() -> None:
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
