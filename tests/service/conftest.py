"""A detector that is not a network, and servers around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models import AutoAttention, ChosenAttention
from models.attention.auto import AttentionTimes
from models.attention.layer_inputs import AttentionInputs
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detections import AttentionReport, Detections, LayerClusters, Prediction
from models.masks.masks import Masks
from models.named_models import pages_small
from models.networks.interruptible import Interrupted
from models.networks.network import Family
from models.preprocess import PreparedImage

WAIT = 10.0
VOUCHED = AttentionConfig.tangent(16)
TIMES = AttentionTimes((1000, 4000), {AttentionConfig.exact(): (1.0, 16.0), VOUCHED: (2.0, 8.0)})
"""Tangent attention takes as long as exact attention at 2000 tokens."""


@dataclass
class FakeDetector:
    """Has a Detector's interface. Its results depend only on an image's pixels and the attention.

    `gate` holds up predictions while it is cleared, `warm` the warm-up; `batches` lists those that ran,
    `thresholds` those of their images; `explained` lists attention and layer of explanations; `entered` counts runs
    that began. `auto` chooses by `TIMES`.
    Where `mask_refusal` is None, masks are the first quarter, the second, and nothing.
    """

    name: str = "fake"
    labels: tuple[str, ...] = ("text", "title", "list", "table", "figure")
    device: str = "cpu"
    precision: str = "fp32"
    config: DetrConfig = field(default_factory=lambda: replace(pages_small(), act_L=32, act_r=8.0))
    parameters: int = 7
    gate: threading.Event = field(default_factory=threading.Event)
    warm: threading.Event = field(default_factory=threading.Event)
    batches: list[tuple[int, AttentionConfig]] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    explained: list[tuple[AttentionConfig, int]] = field(default_factory=list)
    entered: int = 0
    held: int = 0
    broken: Exception | None = None
    dead: bool = False
    auto: AutoAttention | None = None
    commit: str | None = None
    family: Family = field(default_factory=lambda: Family("detr", "act-detr"))
    mask_refusal: str | None = "fake gives no masks"

    def __post_init__(self) -> None:
        self.gate.set()
        self.warm.set()

    def preprocess(self, image: NDArray[np.uint8], size: int | None = None) -> PreparedImage:
        """Images of the model's own size are not resized beyond 64 pixels a side; of others, in proportion."""
        height, width = image.shape[:2]
        most = 64 * (size or self.config.shortest_side) // self.config.shortest_side
        small = np.asarray(Image.fromarray(image).resize((max(1, min(most, width)), max(1, min(most, height)))))
        return PreparedImage(torch.from_numpy(small.copy()).permute(2, 0, 1), height, width)

    def predict(
        self,
        images: Sequence[PreparedImage],
        attention: AttentionConfig,
        thresholds: Sequence[float],
        masks: Sequence[bool],
    ) -> list[Prediction]:
        self.entered += 1
        assert self.gate.wait(WAIT)
        if self.broken is not None:
            raise self.broken
        self.batches.append((len(images), attention))
        self.thresholds += thresholds
        return [self._predict(image, attention, mask) for image, mask in zip(images, masks, strict=True)]

    def _predict(self, image: PreparedImage, attention: AttentionConfig, mask: bool) -> Prediction:
        mean = float(image.pixels.float().mean()) / 255
        width, height = image.original_width, image.original_height
        corners = [[0, 0, width * mean, height], [width / 4, height / 4, width / 2, height / 2], [0, 0, 1, 1]]
        scores = np.array([0.9123456, 0.5 + mean / 4, 0.1], np.float32)
        quarters = np.array([[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 0]]], np.float32)
        masks = Masks(quarters, (2.0, 2.0), height, width) if mask else None
        detections = Detections(np.array(corners, np.float32), scores, ("figure", "text", "title"), masks)
        tokens, merging = self.tokens(image), attention.mode == "merge"
        rows = range(self.config.encoder_layers) if attention.mode != "exact" else ()
        clusters = tuple(LayerClusters(layer, attention.L / 2, 1, attention.L) for layer in rows)
        merged = tokens - int(attention.ratio * tokens) if merging else None
        return Prediction(detections, AttentionReport(attention, tokens, clusters, 1.5, 3.0, merged))

    def interruptible(self, stop: Callable[[], bool]) -> InterruptibleDetector:
        return InterruptibleDetector(self, stop)

    def tokens(self, image: PreparedImage) -> int:
        return image.height * image.width

    def grid(self, image: PreparedImage) -> tuple[int, int]:
        return image.height, image.width

    def layer_inputs(self, image: PreparedImage, attention: AttentionConfig, layer: int) -> AttentionInputs:
        """Drawn from the layer's index, the same for all images of a size and all attention."""
        self.entered += 1
        assert self.gate.wait(WAIT)
        if self.broken is not None:
            raise self.broken
        self.explained.append((attention, layer))
        generator = torch.Generator().manual_seed(layer)
        shape = (1, self.config.heads, self.tokens(image), self.config.head_dim)
        return AttentionInputs(*(2 * torch.randn(shape, generator=generator) for _ in range(3)))

    def measure_attention(self, cache_dir: Path | None = None) -> AutoAttention:
        self.auto = AutoAttention((VOUCHED,), TIMES)
        return self.auto

    def auto_attention(self, tokens: int) -> ChosenAttention:
        return (self.auto or self.measure_attention()).choose(tokens)

    def warm_up(self) -> int:
        assert self.warm.wait(WAIT)
        return 1

    def check(self) -> None:
        if self.dead:
            raise RuntimeError("the device is gone")

    def noticing_out_of_memory(self, images: int) -> AbstractContextManager[None]:
        return nullcontext()

    def memory_bytes(self) -> int:
        return 1234

    def memory_limit_bytes(self) -> int:
        return 5678


@dataclass
class InterruptibleDetector:
    """A fake detector that can be stopped before it predicts, also while its gate holds it up: `held` counts that."""

    detector: FakeDetector
    stop: Callable[[], bool]

    def predict(self, *arguments: Any) -> list[Prediction]:
        self.detector.held += 1
        while not self.stop():
            if self.detector.gate.wait(0.005):
                return self.detector.predict(*arguments)
        raise Interrupted

    def check(self) -> None:
        self.detector.check()


@pytest.fixture
def detector() -> FakeDetector:
    return FakeDetector()


@pytest.fixture
def start(run_server: Callable[..., Any], detector: FakeDetector) -> Callable[..., AbstractContextManager[Any]]:
    """Return a function (warm=True, **settings) that runs a server around the fake detector."""
    return lambda **settings: run_server(detector, **settings)


@pytest.fixture(scope="module")
def service(run_server: Callable[..., Any]) -> Iterator[Any]:
    """A server with ordinary settings, one for a test file."""
    with run_server(FakeDetector()) as server:
        yield server


@pytest.fixture(scope="session")
def png(encoded: Callable[..., bytes]) -> bytes:
    return encoded()
