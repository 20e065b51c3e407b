"""The cost of one image outside the backbone, in multiply-adds, counted from shapes and cluster counts.

Only matrix products are counted: norms, biases, softmax, reading features between a map's cells, and the mean and
broadcast of clusters are not. Attention is counted by the strategies themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.attention.exact import ExactAttention
from models.attention.strategy import AttentionStrategy
from models.attention.token_merging import matching_multiply_adds
from models.config import DetrConfig
from models.detr.box_refinement import COARSE_STRIDE, FINE_STRIDE, SIDES, map_channels


@dataclass(frozen=True, slots=True)
class Gflops:
    """Giga multiply-adds, which papers on DETR call GFLOPs, each part inside the next.

    `attention`: the encoder's attention without its projections, which is what a strategy changes. `encoder`: with
    projections and feed-forward. `total`: with input projection, decoder, heads and box refinement, everything but the
    backbone; None where another engine runs the model.
    """

    attention: float
    encoder: float
    total: float | None

    @classmethod
    def mean(cls, parts: Sequence[Gflops]) -> Gflops:
        """Mean over images, of which there is at least one."""
        attention, encoder = (
            sum(getattr(part, name) for part in parts) / len(parts) for name in ("attention", "encoder")
        )
        totals = [part.total for part in parts if part.total is not None]
        return cls(attention, encoder, sum(totals) / len(totals) if totals else None)


def gflops(
    config: DetrConfig,
    attention: AttentionStrategy,
    tokens: int,
    clusters_by_layer: Sequence[int],
    refined: int | None = None,
    merged_tokens: int | None = None,
) -> Gflops:
    """Cost of one image of `tokens` tokens, of which `merged_tokens` are left in the encoder; None: all.

    `clusters_by_layer` sums the clusters of each encoder layer's heads (any number where nothing is clustered).
    `refined` is the number of boxes that were refined, where the model does that; None stands for every query's. Of
    the heads, those of the last decoder layer count, which is what runs outside training.
    """
    left = tokens if merged_tokens is None else merged_tokens
    attended = sum(
        attention.multiply_adds(left, config.heads, config.head_dim, clusters) for clusters in clusters_by_layer
    )
    matching = 0 if merged_tokens is None else matching_multiply_adds(tokens, config.hidden_dim)
    encoder = attended + matching + _encoder_projections(config, left)
    boxes = config.queries if refined is None else refined
    input_projection = tokens * config.backbone.channels * config.hidden_dim
    rest = input_projection + _decoder(config, tokens) + _heads(config) + _box_refinement(config, tokens, boxes)
    return Gflops(attended / 1e9, encoder / 1e9, (encoder + rest) / 1e9)


def exact_gflops(config: DetrConfig, tokens: int, refined: int | None = None) -> Gflops:
    """Cost of one image with exact attention; `refined` as in `gflops`."""
    return gflops(config, ExactAttention(), tokens, [0] * config.encoder_layers, refined)


def _encoder_projections(config: DetrConfig, tokens: int) -> int:
    """Four projections and the feed-forward of every encoder layer."""
    projections = 4 * tokens * config.hidden_dim**2
    return config.encoder_layers * (projections + 2 * tokens * config.hidden_dim * config.feedforward_dim)


def _decoder(config: DetrConfig, tokens: int) -> int:
    """Queries among themselves, queries over the tokens, feed-forward."""
    queries, dim = config.queries, config.hidden_dim
    among_themselves = 4 * queries * dim**2 + 2 * queries**2 * dim
    over_tokens = 2 * queries * dim**2 + 2 * tokens * dim**2 + 2 * queries * tokens * dim
    feed_forward = 2 * queries * dim * config.feedforward_dim
    return config.decoder_layers * (among_themselves + over_tokens + feed_forward)


def _heads(config: DetrConfig) -> int:
    """The class head and the box head's three layers."""
    dim = config.hidden_dim
    return config.queries * dim * ((len(config.labels) + 1) + 2 * dim + 4)


def _box_refinement(config: DetrConfig, tokens: int, boxes: int) -> int:
    """Refining `boxes` boxes of an image whose map's cells are taken to cover it exactly; 0 without refinement."""
    own = config.box_refinement
    if own is None:
        return 0
    first, second, *deeper = map_channels(config.resnet)
    pixels = tokens * config.backbone.stride**2
    maps = (
        pixels * first * own.fine_channels // FINE_STRIDE**2 + pixels * second * own.coarse_channels // COARSE_STRIDE**2
    )
    for stage, channels in enumerate(deeper, 1):
        stride = min(COARSE_STRIDE * 2**stage, config.backbone.stride)
        maps += pixels * channels * own.coarse_channels // stride**2
    across = 2 * (own.fine_channels + own.coarse_channels) + own.hidden_dim + 1
    side = own.bins * 3 * across * own.hidden_dim + config.hidden_dim * own.hidden_dim
    return maps + len(own.reaches) * boxes * SIDES * side
