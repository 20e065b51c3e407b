"""Small random models, the recipe of the golden outputs, detections, and a small data set in COCO's format."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.config import DetrConfig
from models.detections import Detections
from models.detr.detr import Detr

Box = tuple[float, ...]
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


@pytest.fixture
def tiny_detr(tiny_config: DetrConfig) -> Detr:
    """Small, and with weights far enough from zero that every part shows in the output."""
    detr = Detr(tiny_config).eval()
    detr.load_state_dict(recipe_weights({key: tuple(value.shape) for key, value in detr.state_dict().items()}))
    return detr


@pytest.fixture(scope="session")
def published_weights() -> Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]:
    return recipe_weights


@pytest.fixture
def detected() -> Callable[..., Detections]:
    """Return a function ((box_xyxy, score, label), ...) that returns detections."""

    def make(*rows: tuple[Box, float, str]) -> Detections:
        boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score, _ in rows], np.float32)
        return Detections(boxes, scores, tuple(label for _, _, label in rows))

    return make


@pytest.fixture(scope="session")
def attention_rounding() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a function of q, k, v [..., D] that bounds, element by element, the rounding of softmax(q kᵀ / sqrt(D)) v.

    For any order of summation, so on any CPU: sums in float32 at least, results and a half type's weights in q's
    dtype, exponentials to 20 units in the last i (PyTorch's fused kernel takes fast ones).
    """
    return _attention_rounding


@pytest.fixture(scope="session")
def write_coco() -> Callable[..., Path]:
    """Return a function (json path, image folder, count=5, **changes to the document) that returns the json path.

    Image i is 60 + 4i pixels wide and 48 high, its first half of columns has the colour (40i, 0, 200), and it has
    i objects: cats and dogs in turn.
    """

    def write(annotations: Path, images: Path, count: int = 5, **changes: Any) -> Path:
        annotations.parent.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
        for number in range(count):
            name, width, height = f"{number:03}.png", 60 + 4 * number, 48
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[:, : width // 2] = (40 * number % 256, 0, 200)
            Image.fromarray(pixels).save(images / name)
            document["images"].append({"id": 10 * number, "file_name": name, "height": height, "width": width})
            for i in range(number):
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": 10 * number,
                        "category_id": (3, 7)[i % 2],
                        "bbox": [4 + 6 * i, 5, 20, 30],
                        "area": 600,
                        "iscrowd": 0,
                    }
                )
        annotations.write_text(json.dumps(document | changes))
        return annotations

    return write


def _attention_rounding(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    stored = torch.finfo(q.dtype).eps / 2
    unit = min(stored, torch.finfo(torch.float32).eps / 2)
    q, k, v, tiny = q.double(), k.double(), v.double(), torch.finfo(q.dtype).tiny
    scale = q.shape[-1] ** -0.5
    weights = torch.softmax(q @ k.mT * scale, -1)
    products = q.abs() @ k.abs().mT * scale
    # Of a weight, relative: the dot product, the scale, the distance from the largest logit, the exponential.
    off = _gamma(q.shape[-1], unit) * products + 4 * unit * (products + products.amax(-1, keepdim=True)) + 40 * unit
    off = weights * (off + (stored if stored > unit else 0))
    values = weights @ v
    # A weight that is off moves the mean by its value's distance from the mean.
    through_weights = off @ v.abs() + off.sum(-1, keepdim=True) * values.abs()
    # Both sums over the keys, and rescaling as keys stream past a block of sixteen or more at a time.
    sums = 3 * _gamma(k.shape[-2], unit) * (weights @ v.abs())
    underflow = tiny * stored * v.abs().sum(-2, keepdim=True)
    return through_weights + sums + 2 * stored * values.abs() + underflow + tiny


def _gamma(terms: int, unit: float) -> float:
    """Relative rounding of a sum of so many products, in any order (Higham, Accuracy and Stability, lemma 3.1)."""
    return terms * unit / (1 - terms * unit)


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
