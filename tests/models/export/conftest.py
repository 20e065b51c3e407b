"""A small model with all parts, as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from models.config import BoxRefinementConfig, DetrConfig, VouchedAttention
from models.detr.detr import Detr
from models.weights import save_checkpoint

Weights = Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]


@pytest.fixture(scope="session")
def full_config(tiny_config: DetrConfig) -> DetrConfig:
    """Every setting of our own differs from its default."""
    return replace(
        tiny_config,
        encoder_layers=1,
        decoder_layers=1,
        act_L=17,
        act_r=1.5,
        tangent_C=5,
        nms=0.6,
        vouched=(VouchedAttention("tangent:C=5", 0.001, 0.5),),
        box_refinement=BoxRefinementConfig(bins=6, bins_along=2, fine_channels=4, coarse_channels=4, hidden_dim=8),
    )


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory, published_weights: Weights) -> Callable[[DetrConfig], Path]:
    """Return a function that saves a model of a configuration, its weights far from zero, and returns the file."""

    def save(config: DetrConfig) -> Path:
        detr = Detr(config)
        path = tmp_path_factory.mktemp("model") / f"{config.name}.safetensors"
        shapes = {key: tuple(value.shape) for key, value in detr.state_dict().items()}
        weights = published_weights(shapes)
        weights["class_embed.bias"][-1] -= 3  # queries find objects
        save_checkpoint(path, weights, config)
        return path

    return save


@pytest.fixture(scope="session")
def model_file(save_model: Callable[[DetrConfig], Path], full_config: DetrConfig) -> Path:
    return save_model(full_config)


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Callable[..., Path]:
    """Return a function (format, attention or None) that exports the small model once and returns the folder."""
    from models.export.export import Request, export_model

    made: dict[Any, Path] = {}

    def folder(form: Any, attention: str | None) -> Path:
        if (form, attention) not in made:
            made[form, attention] = tmp_path_factory.mktemp("exported") / form
            plain = form == "transformers"
            request = Request(str(model_file), form, made[form, attention], attention, without_box_refinement=plain)
            export_model(request, tell=lambda _: None)
        return made[form, attention]

    return folder
