"""Servers with a real detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.config import BackboneConfig, pages_small
from models.detector import Detector
from models.detr.detr import Detr


def small_detr() -> Detr:
    """Return a DETR of every part that the real ones have, small and with random weights, always the same."""
    config = replace(
        pages_small(),
        name="small-random",
        backbone=BackboneConfig("basic", (1, 1, 1), width=8),
        hidden_dim=32,
        heads=2,
        encoder_layers=2,
        decoder_layers=1,
        feedforward_dim=64,
        queries=12,
        nms=None,
        shortest_side=96,
        longest_side=160,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Detr(config)


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(small_detr())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a checkpoint file with the same weights."""
    from models.weights import save_checkpoint

    detr = small_detr()
    path = tmp_path_factory.mktemp("checkpoint") / "small-random.safetensors"
    save_checkpoint(path, detr.state_dict(), detr.config)
    return path


@pytest.fixture
def start(run_server: Callable[..., Any], detector: Detector) -> Callable[..., Any]:
    """Return a function (warm=True, **settings) that runs a server around the detector."""
    return lambda **settings: run_server(detector, **settings)


@pytest.fixture(scope="module")
def service(run_server: Callable[..., Any], detector: Detector) -> Iterator[Any]:
    """A server with ordinary settings, one for a test file."""
    with run_server(detector) as server:
        yield server
