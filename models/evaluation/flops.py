"""What one image costs outside the backbone, in multiply-adds, counted from shapes and cluster counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.attention.exact import ExactAttention
from models.attention.strategy import AttentionStrategy
from models.config import DetrConfig
from models.detr.box_refinement import refinement_multiply_adds
from models.detr.multiply_adds import encoder_multiply_adds
from models.preprocess import resized


@dataclass(frozen=True, slots=True)
class Gflops:
    """Giga multiply-adds, which papers on DETR call GFLOPs, each part inside the next.

    `attention`: the encoder's attention without its projections, which is what a strategy changes. `encoder`: with
    projections and feed-forward. `total`: with input projection, decoder, heads and box refinement, everything but the
    backbone.
    """

    attention: float
    encoder: float
    total: float

    @classmethod
    def mean(cls, parts: Sequence[Gflops]) -> Gflops:
        """Mean over images, of which there is at least one."""
        names = ("attention", "encoder", "total")
        return cls(*(sum(getattr(part, name) for part in parts) / len(parts) for name in names))


def gflops(
    config: DetrConfig,
    attention: AttentionStrategy,
    tokens: int,
    clusters_by_layer: Sequence[int],
    refined: int | None = None,
) -> Gflops:
    """Cost of one image of `tokens` tokens; `clusters_by_layer` sums the clusters of each encoder layer's heads.

    `refined` is how many boxes were refined, where the model does that; None: the most there are, every query's.

    Matrix products alone are counted: norms, biases, softmax, and the mean and broadcast of clusters are not. Of the
    heads, those of the last decoder layer, which is what runs outside training.
    """
    attended = sum(
        attention.multiply_adds(tokens, config.heads, config.head_dim, clusters) for clusters in clusters_by_layer
    )
    encoder = encoder_multiply_adds(config, attention, tokens, list(clusters_by_layer))
    boxes = config.queries if refined is None else refined
    rest = input_projection(config, tokens) + decoder(config, tokens) + heads(config)
    rest += refinement_multiply_adds(config, tokens, boxes)
    return Gflops(attended / 1e9, encoder / 1e9, (encoder + rest) / 1e9)


def exact_gflops(config: DetrConfig, tokens: int, refined: int | None = None) -> Gflops:
    """Cost of one image with exact attention; `refined` as in `gflops`."""
    return gflops(config, ExactAttention(), tokens, [0] * config.encoder_layers, refined)


def input_projection(config: DetrConfig, tokens: int) -> int:
    """Multiply-adds of the 1x1 convolution from the backbone's channels to the hidden width."""
    return tokens * config.backbone.channels * config.hidden_dim


def decoder(config: DetrConfig, tokens: int) -> int:
    """Multiply-adds of the decoder: queries among themselves, queries over the tokens, feed-forward."""
    queries, dim = config.queries, config.hidden_dim
    among_themselves = 4 * queries * dim**2 + 2 * queries**2 * dim
    over_tokens = 2 * queries * dim**2 + 2 * tokens * dim**2 + 2 * queries * tokens * dim
    feed_forward = 2 * queries * dim * config.feedforward_dim
    return config.decoder_layers * (among_themselves + over_tokens + feed_forward)


def heads(config: DetrConfig) -> int:
    """Multiply-adds of the class head and the box head's three layers."""
    dim = config.hidden_dim
    return config.queries * dim * ((len(config.labels) + 1) + 2 * dim + 4)


def image_tokens(config: DetrConfig, height: int, width: int) -> int:
    """Encoder tokens of an image of `height` x `width` pixels, resized as the model wants it."""
    height, width = resized(height, width, config.shortest_side, config.longest_side)
    stride = config.backbone.stride
    return -(-height // stride) * -(-width // stride)


def mean_exact_gflops(config: DetrConfig, sizes: Iterable[tuple[int, int]]) -> Gflops:
    """Mean cost with exact attention over images of the given (height, width), at least one."""
    return Gflops.mean([exact_gflops(config, image_tokens(config, *size)) for size in sizes])
