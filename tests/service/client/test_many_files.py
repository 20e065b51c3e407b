"""Many files, by both clients: order, bounds, failures, and a service that refuses for now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.client import NoAnswer, RetryPolicy, image_files
from service.errors import BadParameter, QueueFull, Unauthorized, UnsupportedImageType
from service.http.schemas import RESULT_EXAMPLE

RESULT = (200, {"content-type": "application/json"}, json.dumps(RESULT_EXAMPLE).encode())
FULL = (
    429,
    {"content-type": "application/problem+json", "Retry-After": "0"},
    json.dumps(QueueFull(1).problem()).encode(),
)


@pytest.fixture
def folder(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """Twelve images with names of many kinds, one file that is no image, and a folder below."""
    names = ["a b", "ä", "図面", "[x]", "%41", "é", "e\u0301", "deep/1", "deep/2", "deep/3", "deep/4", "deep/5"]
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for seed, name in enumerate(names):
        (tmp_path / "images" / f"{name}.png").write_bytes(encoded(seed=seed, size=(30 + seed, 20)))
    (tmp_path / "images" / "bad.png").write_bytes(b"junk")
    return tmp_path / "images"


def test_a_folder_is_detected_in_in_order(client: Any, folder: Path) -> None:
    outcomes = list(client.detect_folder(folder, concurrency=3, threshold=0))
    assert [outcome.path for outcome in outcomes] == list(image_files([folder]))
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [outcome.path.name for outcome in failed] == ["bad.png"]
    assert isinstance(failed[0].error, UnsupportedImageType)
    with pytest.raises(UnsupportedImageType):
        failed[0].unwrap()
    assert all(outcome.unwrap().image.height == 20 for outcome in outcomes if not outcome.error)


def test_outcomes_come_as_they_complete(
    connect: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    first = asyncio.Event()

    async def reply(scope: Any, body: bytes) -> Any:
        await first.wait() if body == b"0" else None
        if body == b"5":
            first.set()
        return RESULT

    files = numbered(tmp_path, 6)
    with scripted(reply) as url:
        outcomes = list(connect(url).detect_many(files, concurrency=2, ordered=False))
    assert [outcome.path for outcome in outcomes[:4]] == files[1:5]
    assert {outcome.path for outcome in outcomes[4:]} == {files[0], files[5]}


def numbered(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{index}.png" for index in range(count)]
    for index, file in enumerate(files):
        file.write_bytes(str(index).encode())
    return files


@pytest.mark.parametrize("ordered", [True, False])
def test_the_concurrency_is_reached_and_never_exceeded(
    connect: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path, ordered: bool
) -> None:
    inside, most, all_in = 0, 0, asyncio.Event()

    async def reply(scope: Any, body: bytes) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 5:
            all_in.set()
        async with asyncio.timeout(20):
            await all_in.wait()
        await asyncio.sleep(0.001)
        inside -= 1
        return RESULT

    with scripted(reply) as url:
        outcomes = list(connect(url).detect_many(numbered(tmp_path, 60), concurrency=5, ordered=ordered))
    assert most == 5
    assert all(outcome.error is None for outcome in outcomes)
    assert len(outcomes) == 60


def test_files_are_taken_only_as_fast_as_outcomes_are(
    connect: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "0.png").write_bytes(b"0")
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield tmp_path / "0.png"

    async def reply(scope: Any, body: bytes) -> Any:
        return RESULT

    with scripted(reply) as url:
        outcomes = connect(url).detect_many(endless(), concurrency=2)
        for given in range(1, 20):
            assert next(outcomes).error is None
            assert taken <= given + 4
        outcomes.close()


def test_a_service_that_is_full_is_asked_less(
    connect: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    """It takes two at a time. Were each refusal answered by another request at once, there would be hundreds."""
    inside, refused = 0, 0

    async def reply(scope: Any, body: bytes) -> Any:
        nonlocal inside, refused
        if inside == 2:
            refused += 1
            return FULL
        inside += 1
        await asyncio.sleep(0.01)
        inside -= 1
        return RESULT

    patient = RetryPolicy(attempts=50, total_seconds=60, first_delay=0.05, max_delay=0.1)
    with scripted(reply) as url:
        outcomes = list(connect(url, retry=patient).detect_many(numbered(tmp_path, 40), concurrency=8))
    assert [outcome.error for outcome in outcomes] == [None] * 40
    assert 0 < refused < 80


def test_a_file_that_cannot_be_read_and_one_that_is_gone_fail_alone(client: Any, folder: Path, tmp_path: Path) -> None:
    files = [tmp_path, folder / "missing.png", folder / "ä.png"]
    a_folder, missing, good = client.detect_many(files)
    assert isinstance(a_folder.error, IsADirectoryError)
    assert isinstance(missing.error, FileNotFoundError)
    assert good.unwrap().model == "fake"


def test_pictures_come_too_where_they_are_asked_for(client: Any, folder: Path) -> None:
    outcomes = list(client.detect_many([folder / "ä.png", folder / "bad.png"], drawn=True))
    assert outcomes[0].drawn.startswith(b"\x89PNG")
    assert outcomes[1].drawn is None
    assert next(iter(client.detect_many([folder / "ä.png"]))).drawn is None


def test_a_wrong_key_or_address_is_the_error_of_every_file(
    connect: Callable[..., Any], start: Any, folder: Path
) -> None:
    with start(api_key="right") as server:
        outcomes = list(connect(f"http://127.0.0.1:{server.port}").detect_folder(folder))
    assert len(outcomes) == 13
    assert all(isinstance(outcome.error, Unauthorized) for outcome in outcomes)
    outcomes = list(connect(f"http://127.0.0.1:{server.port}").detect_folder(folder / "deep"))
    assert all(isinstance(outcome.error, NoAnswer) for outcome in outcomes)


def test_what_stops_early_asks_no_more(
    connect: Callable[..., Any], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    asked = 0

    async def reply(scope: Any, body: bytes) -> Any:
        nonlocal asked
        asked += 1
        return RESULT if body == b"0" else FULL

    patient = RetryPolicy(attempts=1000, total_seconds=1000, first_delay=100, max_delay=100)
    with scripted(reply) as url:
        outcomes = connect(url, retry=patient).detect_many(numbered(tmp_path, 40), concurrency=3)
        assert next(outcomes).path.name == "0.png"
        outcomes.close()
        assert asked <= 5


def test_nonsense_is_refused_before_a_file_is_read(client: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="concurrency is at least 1"):
        client.detect_many([], concurrency=0)
    with pytest.raises(BadParameter):
        client.detect_many([], L=0)
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        client.detect_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert list(client.detect_folder(tmp_path / "empty")) == []
