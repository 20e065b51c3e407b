"""A detector that is not a network, and a real server on a real socket around it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.config import AttentionConfig, DetrConfig, pages_small
from models.detections import AttentionReport, Detections, LayerClusters, Prediction
from models.preprocess import PreparedImage
from service.app import create_app
from service.server import DrainingServer, build_server
from service.settings import Settings

WAIT = 10.0


@dataclass
class FakeDetector:
    """Has a Detector's shape. Its answer is computed from an image's pixels and the attention alone.

    `gate` holds up predictions while it is cleared; `seen` lists the batches that ran.
    """

    name: str = "fake"
    labels: tuple[str, ...] = ("text", "title", "list", "table", "figure")
    device: str = "cpu"
    precision: str = "fp32"
    config: DetrConfig = field(default_factory=pages_small)
    parameters: int = 7
    gate: threading.Event = field(default_factory=threading.Event)
    warm: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[int, AttentionConfig]] = field(default_factory=list)
    broken: Exception | None = None
    dead: bool = False

    def __post_init__(self) -> None:
        self.gate.set()
        self.warm.set()

    def preprocess(self, image: NDArray[np.uint8]) -> PreparedImage:
        height, width = image.shape[:2]
        small = np.asarray(Image.fromarray(image).resize((max(1, min(64, width)), max(1, min(64, height)))))
        return PreparedImage(torch.from_numpy(small.copy()).permute(2, 0, 1), height, width)

    def predict(self, images: Sequence[PreparedImage], attention: AttentionConfig) -> list[Prediction]:
        assert self.gate.wait(WAIT)
        if self.broken is not None:
            raise self.broken
        self.seen.append((len(images), attention))
        return [self._predict(image, attention) for image in images]

    def _predict(self, image: PreparedImage, attention: AttentionConfig) -> Prediction:
        mean = float(image.pixels.float().mean()) / 255
        width, height = image.original_width, image.original_height
        boxes = np.array(
            [[0, 0, width * mean, height], [width / 4, height / 4, width / 2, height / 2], [0, 0, 1, 1]], np.float32
        )
        scores = np.array([0.9123456, 0.5 + mean / 4, 0.1], np.float32)
        detections = Detections(boxes, scores, ("figure", "text", "title"))
        tokens = self.tokens(image)
        rows = range(self.config.encoder_layers) if attention.mode == "act" else ()
        clusters = tuple(LayerClusters(layer, attention.L / 2, 1, attention.L) for layer in rows)
        return Prediction(detections, AttentionReport(attention, tokens, clusters, 1.5, 3.0))

    def tokens(self, image: PreparedImage) -> int:
        return image.height * image.width

    def warm_up(self) -> None:
        assert self.warm.wait(WAIT)

    def check(self) -> None:
        if self.dead:
            raise RuntimeError("the device is gone")

    def memory_bytes(self) -> int:
        return 1234


@dataclass
class Running:
    """A server that runs, a client for it, and the detector behind it."""

    client: httpx.Client
    detector: FakeDetector
    app: Any
    server: DrainingServer
    port: int

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series, 0 where there is none."""
        return self.app.state.metrics.registry.get_sample_value(name, labels) or 0.0

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; fail when it does not come to hold."""
        wait_until(condition)


def wait_until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold"
        time.sleep(0.005)


@contextmanager
def running(settings: Settings, detector: Any, *, warm: bool = True) -> Iterator[Running]:
    """Run a real uvicorn in a thread, on a free port, until the block ends."""
    app = create_app(settings, detector)
    server = build_server(app, settings)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        if warm:
            wait_until(lambda: app.state.readiness.refusal() is None, 60)
        yield Running(client, detector, app, server, port)
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not stop"


def settings_with(**values: Any) -> Settings:
    """Settings for a test, whatever the environment says: a free port, two threads."""
    return Settings(**({"port": 0, "preprocess_threads": 2, "drain_seconds": 5.0} | values))


Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def start() -> Start:
    """Return a function that starts a server with settings (by field name) and a detector."""

    def begin(detector: FakeDetector | None = None, *, warm: bool = True, **settings: Any) -> Any:
        return running(settings_with(**settings), detector or FakeDetector(), warm=warm)

    return begin


@pytest.fixture(scope="module")
def service(start: Start) -> Iterator[Running]:
    """A server with ordinary settings, one for a test file."""
    with start() as server:
        yield server


def encoded(mode: str = "RGB", size: tuple[int, int] = (60, 40), kind: str = "PNG", **options: Any) -> bytes:
    """Encode a gradient with some colour."""
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[1], size[0])
    image = Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1)).convert(mode)
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def png() -> bytes:
    return encoded()
