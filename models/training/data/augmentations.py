"""DETR's augmentations, flips, crops and scales (DETR, appendix A.4), and changes of colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torchvision.transforms.v2 import functional

from models.config import DetrConfig
from models.preprocess import resized
from models.training.data.labelled_image import LabelledImage
from models.training.plan.curriculum import Curriculum


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A mirror image with probability `flip`; then, with probability `crop`, a part of the image; then a scale.

    The image's shortest side is resized to one of `shortest_sides`, unless the longest would pass `longest_side`.
    Before it is cropped, its shortest side is resized to one of `crop_from`; each side of the part is between the
    two `crop_sides`, or the whole side. All sides are pixels. Brightness, contrast and saturation are multiplied by
    factors between 1 - `colour` and 1 + `colour`.
    """

    shortest_sides: tuple[int, ...]
    longest_side: int
    crop_from: tuple[int, ...]
    crop_sides: tuple[int, int]
    flip: float = 0.5
    crop: float = 0.5
    colour: float = 0.0

    @classmethod
    def for_model(
        cls, config: DetrConfig, flip: bool = True, colour: float = 0.0, sides: tuple[int, int] | None = None
    ) -> Augmentation:
        """DETR's own numbers, scaled from its 800 pixels to the model's shortest side.

        `flip=False` is for what has a reading direction, such as documents. `sides` is the range of shortest sides
        to train on instead of the model's own; all other sizes follow its upper end.
        """
        low, high = sides or (round(config.shortest_side * 0.6), config.shortest_side)

        def scaled(*sides: int) -> tuple[int, ...]:
            return tuple(max(1, round(side * high / 800)) for side in sides)

        crop_sides = scaled(384, 600)
        return cls(
            shortest_sides=tuple(sorted({low, *range(high, low, -max(1, high // 25))})),
            longest_side=max(1, round(config.longest_side * high / config.shortest_side)),
            crop_from=scaled(400, 500, 600),
            crop_sides=(crop_sides[0], crop_sides[1]),
            flip=0.5 if flip else 0.0,
            colour=colour,
        )

    def __call__(self, image: LabelledImage, rng: torch.Generator, sizes: torch.Generator) -> LabelledImage:
        """Draw one variant of an image: its size from `sizes`, all else from `rng`; only their states decide.

        Images of one size that are given the same state of `sizes` come out in one size again: such a batch is one
        stack for the backbone.
        """
        if _happens(self.flip, rng):
            image = image.changed(functional.horizontal_flip)
        if self.colour:
            image = self._coloured(image, rng)
        if _happens(self.crop, sizes):
            # Without a limit, an image of 1 x 10,000 would become one of 600 x 6,000,000.
            image = resize(image, _pick(self.crop_from, sizes), 4 * self.longest_side)
            image = self._cropped(image, rng, sizes)
        return resize(image, _pick(self.shortest_sides, sizes), self.longest_side)

    def _coloured(self, image: LabelledImage, rng: torch.Generator) -> LabelledImage:
        pixels = image.pixels
        for adjust in (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation):
            pixels = adjust(pixels, 1 + self.colour * (2 * float(torch.rand((), generator=rng)) - 1))
        return replace(image, pixels=pixels)

    def _cropped(self, image: LabelledImage, rng: torch.Generator, sizes: torch.Generator) -> LabelledImage:
        """A part of random size, anywhere in the image."""
        height, width = (self._side(available, sizes) for available in (image.height, image.width))
        top = _integer(0, image.height - height, rng)
        left = _integer(0, image.width - width, rng)
        return image.changed(lambda part: functional.crop(part, top, left, height, width))

    def _side(self, available: int, sizes: torch.Generator) -> int:
        low, high = (min(side, available) for side in self.crop_sides)
        return _integer(low, high, sizes)


@dataclass(frozen=True, slots=True)
class StepAugmentations:
    """The augmentation of every step: at the model's own sizes, or at those of the step's stage.

    Called with a step, it gives the step's augmentation.
    """

    config: DetrConfig
    stages: Curriculum | None = None
    flip: bool = True
    colour: float = 0.0

    def __call__(self, step: int) -> Augmentation:
        """Give the augmentation of a step, counted from 0."""
        sides = self.stages.stage(step).shortest_sides if self.stages else None
        return Augmentation.for_model(self.config, self.flip, self.colour, sides)


def resize(image: LabelledImage, shortest_side: int, longest_side: int) -> LabelledImage:
    """Resize as for inference: bilinear with antialias, to the size that `models.preprocess.resized` gives."""
    size = resized(image.height, image.width, shortest_side, longest_side)
    if size == (image.height, image.width):
        return image
    return image.changed(lambda part: functional.resize(part, list(size), antialias=True))


def _happens(probability: float, rng: torch.Generator) -> bool:
    return float(torch.rand((), generator=rng)) < probability


def _integer(low: int, high: int, rng: torch.Generator) -> int:
    """An integer in low..high, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def _pick(sides: Sequence[int], rng: torch.Generator) -> int:
    return sides[_integer(0, len(sides) - 1, rng)]
