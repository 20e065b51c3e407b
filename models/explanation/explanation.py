"""One layer and head of the encoder for one image: clusters of all positions, and the attention of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.attention.exact import ExactAttention, exact_weights
from models.attention.factory import make_attention
from models.attention.layer_inputs import AttentionInputs
from models.attention.strategy import ClusteringStrategy
from models.attention.tangent import TangentAttention
from models.attention_config import AttentionConfig
from models.detector import Detector
from models.device import on_host
from models.preprocess import PreparedImage


@dataclass(frozen=True, slots=True)
class AttentionMap:
    """What the position in (`row`, `column`) attends to, float32 [rows, columns] each, summing to 1 up to rounding.

    `exact`: the softmax of its own query. `approximate`: the weights that its value was really made with, None for
    exact attention. ACT's and K-means' are the softmax of its cluster's prototype. Tangent attention's are the
    first-order expansion of that, which is below 0 in places where the query is far from its prototype. Both are of the
    same queries and keys. With token merging, `approximate` is of the token that stands for the position, and gives
    each position its share of what the token that stands for it gets; `exact` is then of a run with exact attention.
    """

    row: int
    column: int
    exact: NDArray[np.float32]
    approximate: NDArray[np.float32] | None

    @property
    def most(self) -> float:
        """The largest absolute weight of either: the end of a scale for both."""
        return max(float(np.abs(one).max()) for one in (self.exact, self.approximate) if one is not None)

    @property
    def difference(self) -> float | None:
        """Half the sum of their absolute differences: 0 for equal ones, 1 for softmaxes without common positions."""
        return None if self.approximate is None else float(np.abs(self.exact - self.approximate).sum()) / 2


@dataclass(frozen=True, slots=True)
class Explanation:
    """A layer and head of the encoder, for an image that was attended to by `attention`.

    `grid` is (rows, columns) of the encoder's tokens; they cover the image evenly. `clusters` int64 [rows, columns] has
    the index of every token's cluster, that is of its prototype, None for exact attention: whether two are equal means
    something, their order does not, and with K-means and tangent attention some indices below C may be of no token.
    With token merging a cluster is what was merged into one token, in all layers and heads the same.
    `attention_map` is None unless a point was asked for.
    """

    attention: AttentionConfig
    layer: int
    head: int
    grid: tuple[int, int]
    clusters: NDArray[np.int64] | None
    attention_map: AttentionMap | None

    @property
    def cluster_count(self) -> int:
        """How many clusters have a token; 0 for exact attention."""
        return 0 if self.clusters is None else len(np.unique(self.clusters))


def refusal(detector: Detector) -> str | None:
    """Say why nothing can be explained of a model; None where something can."""
    if detector.family.clusters:
        return None
    why = detector.family.note or "its encoder does not attend over all of its tokens"
    return f"{detector.name} ({detector.family.name}) has no attention to explain: {why}"


def explain(
    detector: Detector,
    image: PreparedImage,
    attention: AttentionConfig,
    layer: int = 0,
    head: int = 0,
    point: tuple[float, float] | None = None,
) -> Explanation:
    """Explain a layer and a head, counted from 0, in the run of an image with `attention`.

    The clusters are those of `Detector.predict` for this image. `point` (x, y) in pixels of the original image asks for
    the attention of the position there. The encoder runs up to this layer, and attention weights are computed for that
    position only.

    Raises ValueError for a layer or head that does not exist and what `locate` refuses; AttentionNotApplicable and
    DeviceOutOfMemory as `Detector.predict` does.
    """
    layers, heads = detector.config.encoder_layers, detector.config.heads
    if not (0 <= layer < layers and 0 <= head < heads):
        raise ValueError(f"layer {layer} and head {head} must be below {layers} and {heads}, from 0 on")
    grid, cell = locate(detector, image, point)
    with detector.noticing_out_of_memory(1):
        return _explain(detector, image, attention, (layer, head), grid, cell)


def locate(
    detector: Detector, image: PreparedImage, point: tuple[float, float] | None = None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """(rows, columns) of an image's tokens, and (row, column) of the one that covers a point, None without a point.

    Raises ValueError for a model or an image of which nothing can be explained, and for a point outside the image.
    """
    why_not = refusal(detector)
    if why_not is not None:
        raise ValueError(why_not)
    grid = detector.grid(image)
    if grid is None:
        raise ValueError(f"the tokens that {detector.name} makes of an image with padding are no grid over it")
    return grid, None if point is None else _cell_at(image, grid, *point)


def _cell_at(image: PreparedImage, grid: tuple[int, int], x: float, y: float) -> tuple[int, int]:
    width, height = image.original_width, image.original_height
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"the point ({x:g}, {y:g}) is outside the image, which has {width} x {height} pixels")
    rows, columns = grid
    return min(rows - 1, int(y / height * rows)), min(columns - 1, int(x / width * columns))


@torch.inference_mode()
def _explain(
    detector: Detector,
    image: PreparedImage,
    attention: AttentionConfig,
    layer_and_head: tuple[int, int],
    grid: tuple[int, int],
    cell: tuple[int, int] | None,
) -> Explanation:
    layer, head = layer_and_head
    token = None if cell is None else cell[0] * grid[1] + cell[1]
    if attention.mode == "merge":
        results = _merged(detector, image, attention, layer, token)
    else:
        results = _clustered(detector, image, attention, layer, token)
    on_grid = (one[0, head].numpy().reshape(grid) for one in on_host(*results.values()))
    maps = dict(zip(results, on_grid, strict=True))
    attention_map = None if cell is None else AttentionMap(*cell, maps["exact"], maps.get("approximate"))
    return Explanation(attention, layer, head, grid, maps.get("clusters"), attention_map)


def _clustered(
    detector: Detector, image: PreparedImage, attention: AttentionConfig, layer: int, token: int | None
) -> dict[str, Tensor]:
    """Clusters int64 [1, H, N], and what one token attends to, [1, H, N], as far as there are any."""
    inputs = detector.layer_inputs(image, attention, layer)
    strategy = make_attention(attention)
    results = {}
    if isinstance(strategy, ClusteringStrategy):
        results["clusters"] = strategy.assign(inputs.q, inputs.k).ids
    if token is not None:
        results["exact"] = _own_weights(inputs, token)
        if isinstance(strategy, ClusteringStrategy):
            results["approximate"] = strategy.weights(inputs.q, inputs.k, token)
    return results


def _merged(
    detector: Detector, image: PreparedImage, attention: AttentionConfig, layer: int, token: int | None
) -> dict[str, Tensor]:
    """The same with token merging: the tokens that stand for others are the clusters."""
    inputs = detector.layer_inputs(image, attention, layer)
    stands_for, sizes = cast("Tensor", inputs.stands_for), cast("Tensor", inputs.sizes)
    results = {"clusters": stands_for.expand(1, inputs.heads, -1)}
    if token is not None:
        strategy = cast("ExactAttention | TangentAttention", make_attention(attention.in_layers))
        weights = strategy.sized_weights(inputs.q, inputs.k, int(stands_for[token]), sizes)
        results["exact"] = _own_weights(detector.layer_inputs(image, AttentionConfig.exact(), layer), token)
        results["approximate"] = (weights / sizes[:, None])[..., stands_for]
    return results


def _own_weights(inputs: AttentionInputs, token: int) -> Tensor:
    return exact_weights(inputs.q[:, :, token, None], inputs.k).squeeze(-2)
