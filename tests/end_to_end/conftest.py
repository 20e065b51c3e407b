"""Servers with a real detector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.config import BackboneConfig, DetrConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.detr.mask_head import MaskHead
from models.named_models import pages_small
from models.networks.own import OwnNetwork
from models.weights.checkpoint_files import save_checkpoint


@pytest.fixture(scope="session")
def detr(tiny_config: DetrConfig) -> Detr:
    """A tiny DETR with random weights, always the same; like the embedded model, it refines its boxes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Detr(replace(tiny_config, box_refinement=pages_small().box_refinement))


@pytest.fixture(scope="session")
def detector(detr: Detr) -> Detector:
    return Detector(copy.deepcopy(detr))


@pytest.fixture(scope="session")
def segmenting(tiny_config: DetrConfig) -> Detector:
    """A tiny DETR for segmentation with random weights, always the same."""
    config = replace(tiny_config, backbone=BackboneConfig("basic", (1, 1, 1, 1), width=8), hidden_dim=64, heads=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Detector(OwnNetwork(Detr(config), MaskHead(64, 8, (32, 16, 8))))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, detr: Detr) -> Path:
    """Return the path of a checkpoint file with the same weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
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
