"""DETR's augmentations: flips, crops and scales (DETR, appendix A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision.transforms.v2 import functional

from models.config import DetrConfig
from models.preprocess import resized
from models.training.labelled_image import LabelledImage


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A mirror image with probability `flip`; then, with probability `crop`, a part of the image; then a scale.

    The image's shortest side is resized to one of `shortest_sides`, unless the longest would pass `longest_side`.
    Before it is cropped, its shortest side is resized to one of `crop_from`; each side of the part is between the
    two `crop_sides`, or all there is. All sides are pixels.
    """

    shortest_sides: tuple[int, ...]
    longest_side: int
    crop_from: tuple[int, ...]
    crop_sides: tuple[int, int]
    flip: float = 0.5
    crop: float = 0.5

    @classmethod
    def for_model(cls, config: DetrConfig, flip: bool = True) -> Augmentation:
        """DETR's own numbers, scaled from its 800 pixels to the model's shortest side.

        `flip=False` is for what has a reading direction, such as documents.
        """

        def scaled(sides: Sequence[int]) -> tuple[int, ...]:
            return tuple(max(1, round(side * config.shortest_side / 800)) for side in sides)

        low, high = scaled((384, 600))
        return cls(
            shortest_sides=scaled(range(480, 801, 32)),
            longest_side=config.longest_side,
            crop_from=scaled((400, 500, 600)),
            crop_sides=(low, high),
            flip=0.5 if flip else 0.0,
        )

    @classmethod
    def none(cls, config: DetrConfig) -> Augmentation:
        """Nothing but the size that the model is served at."""
        side = config.shortest_side
        return cls((side,), config.longest_side, (side,), (side, side), flip=0.0, crop=0.0)

    def __call__(self, image: LabelledImage, chance: torch.Generator) -> LabelledImage:
        """Draw one variant of an image. The generator's state alone decides which."""
        if _happens(self.flip, chance):
            image = image.changed(functional.horizontal_flip)
        if _happens(self.crop, chance):
            # Without a limit, an image of 1 x 10,000 would become one of 600 x 6,000,000.
            image = self._cropped(resize(image, _pick(self.crop_from, chance), 4 * self.longest_side), chance)
        return resize(image, _pick(self.shortest_sides, chance), self.longest_side)

    def _cropped(self, image: LabelledImage, chance: torch.Generator) -> LabelledImage:
        """A part of random size, anywhere in the image."""
        height, width = (self._side(available, chance) for available in (image.height, image.width))
        top = _integer(0, image.height - height, chance)
        left = _integer(0, image.width - width, chance)
        return image.changed(lambda part: functional.crop(part, top, left, height, width))

    def _side(self, available: int, chance: torch.Generator) -> int:
        low, high = (min(side, available) for side in self.crop_sides)
        return _integer(low, high, chance)


def resize(image: LabelledImage, shortest_side: int, longest_side: int) -> LabelledImage:
    """Resize as for inference: bilinear with antialias, to the size that `models.preprocess.resized` gives."""
    size = resized(image.height, image.width, shortest_side, longest_side)
    if size == (image.height, image.width):
        return image
    return image.changed(lambda part: functional.resize(part, list(size), antialias=True))


def _happens(probability: float, chance: torch.Generator) -> bool:
    return float(torch.rand((), generator=chance)) < probability


def _integer(low: int, high: int, chance: torch.Generator) -> int:
    """An integer in low..high, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=chance))


def _pick(sides: Sequence[int], chance: torch.Generator) -> int:
    return sides[_integer(0, len(sides) - 1, chance)]
