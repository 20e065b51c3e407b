"""Golden data, a real server on a real socket, and encoded images, for all tests."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from models.config import BackboneConfig, DetrConfig
from models.named_models import pages_small

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
"""As `models.export.engines.import_openvino` does, for tests that import OpenVINO first: its telemetry forks, from a
thread, a process that may hang."""

torch.set_num_threads(int(os.environ.get("ACT_DETR_TEST_THREADS", "1")))

MIXED = "PyTorch lays out half-precision products for AMX whatever ATEN_CPU_CAPABILITY says, and then computes without"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that the hook below acts on."""
    config.addinivalue_line("markers", "half: multiplies matrices in bfloat16 or float16")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what PyTorch itself computes wrongly: half precision with instructions withheld from a CPU with AMX."""
    cpu = Path("/proc/cpuinfo")
    if "ATEN_CPU_CAPABILITY" in os.environ and cpu.exists() and "amx_tile" in cpu.read_text():
        for item in items:
            if item.get_closest_marker("half"):
                item.add_marker(pytest.mark.skip(reason=MIXED))


@pytest.fixture(scope="session")
def tiny_config() -> DetrConfig:
    """Return the smallest shape that has all the parts of a page detector; nothing vouches for its random weights."""
    return replace(
        pages_small(),
        name="tiny",
        backbone=BackboneConfig("basic", (1, 1), width=8),
        hidden_dim=32,
        heads=2,
        encoder_layers=2,
        decoder_layers=2,
        feedforward_dim=64,
        queries=9,
        vouched=(),
        nms=None,
        box_refinement=None,
        shortest_side=64,
        longest_side=128,
        trained_sides=(48, 96),
    )


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of golden data."""
    return Path(__file__).parent / "golden"


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return as soon as the condition holds; fail when it does not come to hold."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold"
        time.sleep(0.005)


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    """Return `wait_until(condition, seconds=30)`, for tests, which cannot import this file."""
    return wait_until


@dataclass
class Running:
    """A server that runs, a client for it, and the detector behind it."""

    client: httpx.Client
    detector: Any
    service: Any
    server: Any
    port: int

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a series, 0 where there is none."""
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0

    def total(self, name: str) -> float:
        """Return the sum of a series over all its labels."""
        families = self.service.metrics.registry.collect()
        return sum(row.value for family in families for row in family.samples if row.name == name)

    def eventually(self, condition: Callable[[], bool]) -> None:
        wait_until(condition)

    def idle(self) -> bool:
        """Whether nothing is under way, by the server's own account."""
        return self.metric("act_detr_inflight_requests") == 0 and self.metric("act_detr_queue_depth") == 0

    def raw(self, data: bytes, *, finish: bool = True) -> bytes:
        """Send bytes over a socket of their own and return all that comes back; not `finish`: hang up at once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            try:
                connection.sendall(data)
                received = b""
                while finish and (chunk := connection.recv(65536)):
                    received += chunk
            except ConnectionError:
                pass
        return received


@contextmanager
def _running(detector: Any, warm: bool, tracer: Any, values: dict[str, Any]) -> Iterator[Running]:
    from service.app import create_app
    from service.server import build_server
    from service.settings import Settings
    from service.telemetry.tracing import NO_TRACER

    settings = Settings(**({"port": 0, "preprocess_threads": 2, "drain_seconds": 5.0} | values))
    app = create_app(settings, detector, tracer or NO_TRACER)
    service, server = app.state.service, build_server(app, settings)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        try:
            if warm:
                wait_until(lambda: service.readiness.refusal() is None, 60)
            yield Running(client, detector, service, server, port)
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Running]]:
    """Return a function (detector, warm=True, tracer=None, **settings) that runs a server during its `with` block."""
    cache = tmp_path_factory.mktemp("cache")

    def run(
        detector: Any, *, warm: bool = True, tracer: Any = None, **settings: Any
    ) -> AbstractContextManager[Running]:
        return _running(detector, warm, tracer, {"cache_dir": cache} | settings)

    return run


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Return a function that encodes a colourful gradient of a Pillow mode, size and file format."""

    def encode(
        mode: str = "RGB", size: tuple[int, int] = (60, 40), kind: str = "PNG", seed: int = 0, **options: Any
    ) -> bytes:
        ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[1], size[0])
        image = Image.fromarray(np.stack([np.roll(ramp, seed), ramp[::-1], 255 - ramp], axis=-1)).convert(mode)
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def hub() -> Iterator[Any]:
    """A Hugging Face hub on this machine, empty at first: `Hub` of tests/hub_server.py, which no test can import."""
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    with module.running_hub() as running:
        yield running
