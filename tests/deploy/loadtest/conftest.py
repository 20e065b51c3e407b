"""Made-up outcomes, servers that misbehave, and the programs run against a small model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Outcome
from models.config import DetrConfig
from models.detr.detr import Detr
from models.weights import save_checkpoint

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@asynccontextmanager
async def _serving(script: Script) -> Any:
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        index, count = count, count + 1
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        await script(writer, index)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])


@pytest.fixture(scope="session")
def serving() -> Callable[[Script], AbstractAsyncContextManager[Target]]:
    """Return a server that reads each request and then runs the script with the request's index."""
    return _serving


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Outcome]:
    """Return a function (due, latency, status=200, **other) that makes an outcome, by default of the overload."""

    def make(due: float, latency: float, status: int = 200, **other: Any) -> Outcome:
        return replace(Outcome("overload", due, due, due + latency, status, "", None, 1000.0, 0), **other)

    return make


@pytest.fixture
def image(
    tiny_config: DetrConfig, encoded: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Set the environment so that services have a tiny model, and return an image to send."""
    checkpoint, file = tmp_path / "tiny.safetensors", tmp_path / "image.png"
    save_checkpoint(checkpoint, Detr(tiny_config).state_dict(), tiny_config)
    file.write_bytes(encoded())
    settings = {"MODEL": str(checkpoint), "DEVICE": "cpu", "THREADS": "1", "MAX_QUEUE": "6", "MAX_INFLIGHT": "12"}
    for name, value in settings.items():
        monkeypatch.setenv(f"ACT_DETR_{name}", value)
    return file


@pytest.fixture
def program(image: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a program's `main` against a tiny model, and returns the JSON that it wrote."""
    output = tmp_path / "results.json"

    def run(main: Callable[[list[str]], None], *arguments: str) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            main([*arguments, "--capacity-seconds", "2", "--image", str(image), "--output", str(output)])
        results: dict[str, Any] = json.loads(output.read_text())
        return results | {"failed": {check["name"] for check in results["checks"] if not check["holds"]}}

    return run
