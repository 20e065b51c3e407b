"""Images inside the model: stacked by size for the backbone, packed tokens for the transformer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from torch import Tensor

from models.device import on_device


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images of any sizes, stacked by size: the backbone runs once per size, so that nothing is padded.

    `stacks[s]` is float [b, 3, h, w], normalised; `order[i]` is the index, counted through the stacks, of the
    i-th input image.
    """

    stacks: tuple[Tensor, ...]
    order: tuple[int, ...]

    @classmethod
    def from_images(cls, images: Sequence[Tensor]) -> ImageBatch:
        """Stack float images [3, h, w] by size. Raises ValueError for none."""
        if not images:
            raise ValueError("a batch holds at least one image")
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            by_size.setdefault((image.shape[-2], image.shape[-1]), []).append(i)
        stacked = [i for indices in by_size.values() for i in indices]
        order = sorted(range(len(images)), key=stacked.__getitem__)
        stacks = (torch.stack([images[i] for i in indices]) for indices in by_size.values())
        return cls(tuple(stacks), tuple(order))

    def __len__(self) -> int:
        return len(self.order)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every image, in input order."""
        stacked = [(stack.shape[-2], stack.shape[-1]) for stack in self.stacks for _ in stack]
        return tuple(stacked[i] for i in self.order)


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """The tokens of several images, one image after another, with no padding.

    `values` float [T, d]; `positions` float [T, d], the position encoding; `lengths[b]` tokens of image b,
    summing to T. `grids[b]` are the (rows, columns) that they lie on, row by row; empty where that is not known.
    `sizes` float [T] says how many tokens each one stands for; None: one.
    """

    values: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    grids: tuple[tuple[int, int], ...] = ()
    sizes: Tensor | None = None
    _offsets: dict[tuple[int, ...], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def with_values(self, values: Tensor) -> PackedTokens:
        """The same tokens with other values [T, d]."""
        return replace(self, values=values)

    def offsets(self, rows: tuple[int, ...]) -> Tensor:
        """Where each image begins, and the last one ends, among `rows[b]` rows for image b: int32 [B + 1].

        On the values' device, copied once a batch without waiting: the same tokens `with_values` share it.
        """
        if rows not in self._offsets:
            ends = torch.tensor(list(accumulate(rows, initial=0)), dtype=torch.int32)
            self._offsets[rows] = on_device(ends, self.values.device)
        return self._offsets[rows]

    def runs(self) -> Iterator[Run]:
        """Neighbouring images with equally many tokens, which may be computed as one dense batch."""
        image = token = 0
        while image < len(self.lengths):
            tokens = self.lengths[image]
            images = 1
            while image + images < len(self.lengths) and self.lengths[image + images] == tokens:
                images += 1
            yield Run(token, images, tokens)
            image += images
            token += images * tokens


@dataclass(frozen=True, slots=True)
class Run:
    """`images` neighbours in a packed batch that have `tokens` tokens each, from row `start` on."""

    start: int
    images: int
    tokens: int

    def dense(self, packed: Tensor) -> Tensor:
        """View the rows of packed [T, d] that belong to this run as [images, tokens, d]."""
        rows = packed[self.start : self.start + self.images * self.tokens]
        return rows.view(self.images, self.tokens, packed.shape[-1])
