"""Small models with random weights, and the recipe of the golden outputs."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.config import DetrConfig
from models.detr.detr import Detr


@pytest.fixture
def tiny_detr(tiny_config: DetrConfig) -> Detr:
    """Small, and with weights far enough from zero that every part shows in the output."""
    detr = Detr(tiny_config).eval()
    detr.load_state_dict(recipe_weights({key: tuple(value.shape) for key, value in detr.state_dict().items()}))
    return detr


@pytest.fixture(scope="session")
def published_weights() -> Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]:
    return recipe_weights


def recipe_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The weights that the golden outputs were made with: key and shape decide, in sorted order."""
    generator = torch.Generator().manual_seed(20201118)
    return {key: _scaled(key, torch.randn(shapes[key], generator=generator), shapes[key]) for key in sorted(shapes)}


def _scaled(key: str, n: Tensor, shape: tuple[int, ...]) -> Tensor:
    rules: list[tuple[bool, Callable[[], Tensor]]] = [
        (key.endswith("running_var"), lambda: 1 + 0.1 * n.abs()),
        (key.endswith("running_mean"), lambda: 0.3 * n),
        (key == "query_embed.weight", lambda: n),
        (key.endswith("in_proj_weight"), lambda: 3 * n / math.sqrt(shape[1])),
        (key.endswith("out_proj.weight"), lambda: 0.2 * n / math.sqrt(shape[1])),
        (len(shape) == 4, lambda: n * math.sqrt(2 / math.prod(shape[1:]))),
        (len(shape) == 2, lambda: n / math.sqrt(shape[1])),
        (key.endswith("weight"), lambda: 1 + 0.1 * n),
        (True, lambda: 0.02 * n),
    ]
    return next(rule() for fits, rule in rules if fits)
