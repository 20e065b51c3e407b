"""What an encoder of transformers attends over, and what that costs: one map, the coarsest map, or sampled points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from models.detr.canvas import shown_cells

Size = tuple[int, int]
"""(height, width), of a map in cells or of an image in pixels."""


class Layout(Protocol):
    """How the tokens of an encoder lie. `maps` are the sizes of the backbone's maps, finest first."""

    def probe(self, detector: Any) -> nn.Module:
        """Return the part of a transformers model for detection whose output are the encoder's tokens."""
        ...

    def tokens(self, maps: Sequence[Size], image: Size, canvas: Size) -> int:
        """How many tokens an image has that lies in the corner of its canvas, which the backbone sees."""
        ...

    def grid(self, maps: Sequence[Size], image: Size, canvas: Size) -> Size | None:
        """Rows and columns in which the tokens cover the image; None where they do not, or cover more than it."""
        ...

    def kept(self, values: Tensor, maps: Sequence[Size], image: Size, canvas: Size) -> Tensor:
        """The tokens [b, N, d] of images of one size among what the probed part gave for the canvas."""
        ...

    def layer_multiply_adds(self, tokens: int, dim: int, feedforward_dim: int) -> int:
        """Multiply-adds of one layer but for its attention: projections and feed-forward."""
        ...


@dataclass(frozen=True, slots=True)
class LastMap:
    """Every position of the backbone's last map that is no padding attends to all of them, as in DETR.

    `scaled_positions`: each layer scales its position encodings by two more projections, as in DAB-DETR.
    """

    scaled_positions: bool = False

    def probe(self, detector: Any) -> nn.Module:
        """Return the encoder."""
        encoder: nn.Module = detector.model.encoder
        return encoder

    def tokens(self, maps: Sequence[Size], image: Size, canvas: Size) -> int:
        """Cells that are no padding."""
        rows, columns = self.grid(maps, image, canvas)
        return rows * columns

    def grid(self, maps: Sequence[Size], image: Size, canvas: Size) -> Size:
        """Cells that are no padding."""
        return self.shown(maps[-1], image, canvas)

    def kept(self, values: Tensor, maps: Sequence[Size], image: Size, canvas: Size) -> Tensor:
        """Those that are no padding."""
        rows, columns = self.shown(maps[-1], image, canvas)
        grid = values.view(len(values), *maps[-1], values.shape[-1])
        return grid[:, :rows, :columns].flatten(1, 2)

    def layer_multiply_adds(self, tokens: int, dim: int, feedforward_dim: int) -> int:
        """Four projections, or six, and the feed-forward."""
        projections = 6 if self.scaled_positions else 4
        return tokens * (projections * dim**2 + 2 * dim * feedforward_dim)

    @staticmethod
    def shown(cells: Size, image: Size, canvas: Size) -> Size:
        """Rows and columns of a map of so many cells that are no padding."""
        rows, columns = (
            shown_cells(length, whole, count) for length, whole, count in zip(image, canvas, cells, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, slots=True)
class CoarsestMap:
    """Only the backbone's last map is attended over, all of it; the rest of the encoder convolves, as in RT-DETR."""

    def probe(self, detector: Any) -> nn.Module:
        """Return the last layer that attends."""
        layer: nn.Module = detector.model.encoder.aifi[-1].layers[-1]
        return layer

    def tokens(self, maps: Sequence[Size], image: Size, canvas: Size) -> int:
        """All cells, of padding too."""
        rows, columns = maps[-1]
        return rows * columns

    def grid(self, maps: Sequence[Size], image: Size, canvas: Size) -> Size | None:
        """All cells of an image that fills its canvas."""
        return maps[-1] if image == canvas else None

    def kept(self, values: Tensor, maps: Sequence[Size], image: Size, canvas: Size) -> Tensor:
        """All of them."""
        return values

    def layer_multiply_adds(self, tokens: int, dim: int, feedforward_dim: int) -> int:
        """Four projections and the feed-forward; the convolutions are no part of a layer that attends."""
        return tokens * (4 * dim**2 + 2 * dim * feedforward_dim)


@dataclass(frozen=True, slots=True)
class SampledPoints:
    """The positions of `levels` maps, each looking at `points` sampled places of every map, in each of `heads`.

    Levels beyond the backbone's maps are made from its last one, each half as large as the one before.
    """

    levels: int
    points: int
    heads: int

    def probe(self, detector: Any) -> nn.Module:
        """Return the encoder."""
        encoder: nn.Module = detector.model.encoder
        return encoder

    def tokens(self, maps: Sequence[Size], image: Size, canvas: Size) -> int:
        """All cells of all levels, of padding too."""
        sizes = list(maps[-self.levels :])
        while len(sizes) < self.levels:
            rows, columns = sizes[-1]
            sizes.append((-(-rows // 2), -(-columns // 2)))
        return sum(rows * columns for rows, columns in sizes)

    def grid(self, maps: Sequence[Size], image: Size, canvas: Size) -> None:
        """Several grids are none."""

    def kept(self, values: Tensor, maps: Sequence[Size], image: Size, canvas: Size) -> Tensor:
        """All of them."""
        return values

    def layer_multiply_adds(self, tokens: int, dim: int, feedforward_dim: int) -> int:
        """Projections of values, outputs, places and weights, the weighted sum of what was sampled, feed-forward."""
        sampled = self.heads * self.levels * self.points
        projections = 2 * dim**2 + 3 * dim * sampled
        weighted_sum = self.levels * self.points * dim
        return tokens * (projections + weighted_sum + 2 * dim * feedforward_dim)
