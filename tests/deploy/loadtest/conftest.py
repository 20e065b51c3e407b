"""Made-up outcomes, servers that misbehave, and the programs run against a small model of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import Target
from models.config import DetrConfig
from models.detr.detr import Detr
from models.weights import save_checkpoint

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@asynccontextmanager
async def _serving(script: Script) -> Any:
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


@pytest.fixture(scope="session")
def serving() -> Callable[[Script], AbstractAsyncContextManager[Target]]:
    """Return a server that reads each request and then does what the script says, with the request's number, from 0."""
    return _serving


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Outcome]:
    """Return a function (due, latency, status=200, **other) that makes an outcome, of the overload unless it says."""

    def make(due: float, latency: float, status: int = 200, **other: Any) -> Outcome:
        plain = Outcome("overload", "/detect", due, due, due + latency, status, "", "", "", None, 1000.0, 0)
        return replace(plain, **other)

    return make


@pytest.fixture(scope="session")
def small(tiny_config: DetrConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a checkpoint of the tiny model with random weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(path, Detr(tiny_config).state_dict(), tiny_config)
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
