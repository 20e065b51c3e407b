"""Rules for the size that images are resized to, and the canvas that they are padded to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Rule = Literal["sides", "inside", "exact", "none"]
Size = tuple[int, int]

LARGEST: Final = 2666
"""Most pixels of a side where images keep their size, twice DETR's: memory must have an end."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """How a model that transformers trained wants its images; `size` and `canvas` are (height, width) in pixels.

    `rule` says to which size images are brought:

    - sides: by the model's shortest and longest side, as DETR does;
    - inside: the largest of the image's shape that lies inside `size`;
    - exact: `size` itself, whatever the image's shape;
    - none: their own, up to LARGEST pixels a side.

    Without a `canvas` nothing is padded. With one, an image lies in the canvas's upper left corner, the rest of which
    is zero after normalisation, and the model was trained on boxes relative to the canvas. An image that would reach
    over its canvas is brought to the largest size of the same shape that does not. Raises ValueError for a rule
    without its size, or a size beyond the canvas.
    """

    rule: Rule = "sides"
    size: Size | None = None
    canvas: Size | None = None

    def __post_init__(self) -> None:
        if (self.rule in ("inside", "exact")) != (self.size is not None):
            raise ValueError(f"images resized by the rule {self.rule!r} cannot have the size {self.size}")
        if min((*(self.size or ()), *(self.canvas or ())), default=1) < 1:
            raise ValueError(f"size {self.size} and canvas {self.canvas} must be of pixels above 0")
        if self.size and self.canvas and (self.size[0] > self.canvas[0] or self.size[1] > self.canvas[1]):
            raise ValueError(f"images of size {self.size} (height, width) do not fit on a canvas of {self.canvas}")

    def resized(self, height: int, width: int, shortest_side: int, longest_side: int) -> Size:
        """(height, width) of an image after resizing, each at least one pixel, rounded as transformers does."""
        if self.rule == "exact" and self.size:
            height, width = self.size
        elif self.rule == "inside" and self.size:
            height, width = _inside(height, width, self.size)
        elif self.rule == "sides":
            height, width = _by_sides(height, width, shortest_side, longest_side)
        elif max(height, width) > LARGEST:
            height, width = _inside(height, width, (LARGEST, LARGEST))
        if self.canvas and (height > self.canvas[0] or width > self.canvas[1]):
            return _inside(height, width, self.canvas)
        return height, width

    def by_sides(self) -> Resizing:
        """The same canvas, with images resized by the model's sides: what training does."""
        return replace(self, rule="sides", size=None)


def _inside(height: int, width: int, size: Size) -> Size:
    scale = min(size[0] / height, size[1] / width)
    return max(1, int(height * scale)), max(1, int(width * scale))


def _by_sides(height: int, width: int, shortest_side: int, longest_side: int) -> Size:
    """As `models.preprocess.resized`, but where `longest_side` is the limit, the longest side reaches it.

    An image whose shorter side is right already stays as it is, as transformers has it: a thin one may be a little
    longer than the limit.
    """
    short, long = float(min(height, width)), float(max(height, width))
    side = float(shortest_side)
    if long / short * shortest_side > longest_side:
        side = longest_side * short / long
    shorter = round(side)
    if short == shorter:
        return height, width
    shorter, longer = max(1, shorter), max(1, shorter, int(side * long / short))
    return (shorter, longer) if height <= width else (longer, shorter)
