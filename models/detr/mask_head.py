"""The head of a DETR for segmentation: a mask for each query, as in section 3.3 of the DETR paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad, relu

QUERIES: Final = 8
"""Queries whose masks are computed at a time: maps of a quarter of the image's resolution need much memory."""
GROUPS: Final = 8
"""Groups of channels that are normalised together."""


@dataclass(frozen=True, slots=True)
class Segmentable:
    """What a DETR computed for one image, of which masks can be made.

    `decoded` [Q, d] are the decoder's queries; `memory` [d, rows, columns] is the encoder's output, without padding.
    The backbone saw the padding: its last map, projected, is `projected` [d, R, C], `levels` [c, h, w] are the three
    others, coarsest first.
    """

    decoded: Tensor
    memory: Tensor
    projected: Tensor
    levels: tuple[Tensor, ...]


class MaskHead(nn.Module):
    """Where each query looks, turned into its mask. Its state-dict keys are those of the published checkpoints.

    `channels` are those of the three `levels`. `activation` is that of the published models unless given.
    """

    def __init__(
        self, dim: int, heads: int, channels: Sequence[int], activation: Callable[[Tensor], Tensor] = relu
    ) -> None:
        super().__init__()
        self.bbox_attention = QueryMaps(dim, heads)
        self.mask_head = MaskConvolutions(dim, heads, channels, activation)

    def forward(self, image: Segmentable, queries: Tensor) -> Tensor:
        """Logits, float32 [n, h, w] at the resolution of the finest level, of the masks of some queries, int64 [n].

        Each is computed by itself, whatever the others are, up to rounding.
        """
        dtype = self.bbox_attention.q_linear.weight.dtype
        projected = image.projected.to(dtype)
        levels = [level.to(dtype) for level in image.levels]
        rows, columns = (whole - part for whole, part in zip(projected.shape[1:], image.memory.shape[1:], strict=True))
        logits = [projected.new_zeros((0, *levels[-1].shape[1:]))]
        for some in torch.split(queries, QUERIES):
            looks = self.bbox_attention(image.decoded[some].to(dtype), image.memory.to(dtype))
            logits.append(self.mask_head(projected, pad(looks, (0, columns, 0, rows)), levels))
        return torch.cat(logits).float()


class QueryMaps(nn.Module):
    """Where queries look: attention weights, over all heads and places together, without values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(dim, dim)
        self.k_linear = nn.Linear(dim, dim)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries [n, d] and memory [d, rows, columns] to weights [n, heads, rows, columns] that sum to 1 for each."""
        q = self.q_linear(queries).unflatten(1, (self.heads, -1))
        k = self.k_linear(memory.flatten(1).T).unflatten(1, (self.heads, -1))
        logits = torch.einsum("nhd,thd->nht", q * q.shape[-1] ** -0.5, k)
        weights: Tensor = logits.flatten(1).softmax(-1).view(len(queries), self.heads, *memory.shape[1:])
        return weights


class MaskConvolutions(nn.Module):
    """Convolutions over the image's features beside where a query looks, at finer and finer levels.

    What does not depend on the query is computed once for all of them.
    """

    def __init__(self, dim: int, heads: int, channels: Sequence[int], activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        widths = (dim + heads, dim + heads, *(dim // 2**i for i in range(1, 5)))
        self.lay1 = nn.Conv2d(widths[0], widths[1], 3, padding=1)
        for i in range(1, 5):
            self.add_module(f"lay{i + 1}", nn.Conv2d(widths[i], widths[i + 1], 3, padding=1))
        for i, width in enumerate(widths[1:]):
            self.add_module(f"gn{i + 1}", nn.GroupNorm(min(GROUPS, width), width))
        for i, width in enumerate(channels):
            self.add_module(f"adapter{i + 1}", nn.Conv2d(width, widths[i + 2], 1))
        self.out_lay = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, projected: Tensor, looks: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """Projected [d, R, C], looks [n, heads, R, C] and levels [c, h, w] to logits [n, h, w] as of the last level."""
        of_image, of_looks = torch.split(self.lay1.weight, [len(projected), looks.shape[1]], 1)
        x = conv2d(projected[None], of_image, self.lay1.bias, padding=1) + conv2d(looks, of_looks, padding=1)
        x = self._normed(1, x)
        x = self._layer(2, x)
        for i, level in enumerate(levels):
            x = interpolate(x, size=level.shape[1:], mode="nearest")
            x = self._layer(i + 3, self.get_submodule(f"adapter{i + 1}")(level[None]) + x)
        logits: Tensor = self.out_lay(x).squeeze(1)
        return logits

    def _layer(self, number: int, x: Tensor) -> Tensor:
        return self._normed(number, self.get_submodule(f"lay{number}")(x))

    def _normed(self, number: int, x: Tensor) -> Tensor:
        return self.activation(self.get_submodule(f"gn{number}")(x))
