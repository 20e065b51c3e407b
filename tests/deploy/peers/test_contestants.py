"""The servers of a comparison, each started and asked for real."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from deploy.loadtest.process_tree import all_processes, tree
from deploy.local_server import SAMPLE_PAGE, wait_until
from deploy.peers.answers import detections, expect_same
from deploy.peers.compare import contestants
from deploy.peers.contestants import INSTALL, NAMES, OURS, Contestant, Limits, running
from deploy.peers.settings import PeerSettings

LIMITS = Limits(threads=2, deadline_s=60.0, max_inflight=16)


def test_a_contestant_is_a_name_and_its_workers() -> None:
    assert Contestant.parse("litserve:2") == Contestant("litserve", 2)
    assert Contestant.parse(OURS) == Contestant(OURS, 1)
    assert [str(Contestant.parse(text)) for text in ("ours", "ray", "ray:2")] == ["ours", "ray:1", "ray:2"]


@pytest.mark.parametrize("text", ["triton", "ours:2", "ray:0", "ray:x", "fastapi:-1", ""])
def test_what_is_no_contestant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not one of|cannot have"):
        Contestant.parse(text)


def test_the_service_is_first_and_what_is_missing_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Contestant, "is_installed", property(lambda self: self.name != "ray"))
    assert [str(one) for one in contestants(["ray:2", "fastapi:2", "ours"])] == ["ours", "fastapi:2"]
    assert f"ray:2 is left out, as ray is not installed: {INSTALL}" in capsys.readouterr().out


def test_settings_pass_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PeerSettings(port=8123, threads=5, workers=2, timeout_s=1.5, max_inflight=7)
    assert settings.threads_each == 2
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert PeerSettings() == settings


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES[1:])
def test_a_peer_answers_what_the_service_answers_and_leaves_no_process(name: str) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed: {INSTALL}")
    page, answers = SAMPLE_PAGE.read_bytes(), []
    for contestant in (Contestant(OURS), Contestant(name, 2)):
        with running(contestant, LIMITS) as server:
            answers.append(asyncio.run(detections(server.target, "/detect?attention=exact", page)))
            members = {(process.pid, process.started) for process in tree(server.pid)}
        assert members
        assert wait_until(partial(_have_ended, members), 30)
    assert len(answers[0]) > 0
    expect_same(name, answers[:1], answers[1:])


def test_a_peer_that_ends_is_reported_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_MODEL", "no-such-model")
    failure = pytest.raises(SystemExit, match=r"(?s)fastapi:1 did not become ready.*no-such-model")
    with failure, running(Contestant("fastapi"), LIMITS):
        pass


def _have_ended(members: set[tuple[int, int]]) -> bool:
    return not members & {(process.pid, process.started) for process in all_processes()}
