"""Detections drawn on their image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]
Box = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Distinct in hue and lightness, each readable under white or black letters.
PALETTE: Final[tuple[Rgb, ...]] = (
    (230, 57, 70),
    (29, 111, 219),
    (34, 139, 74),
    (245, 158, 11),
    (142, 68, 173),
    (0, 150, 160),
    (214, 51, 132),
    (120, 86, 60),
    (91, 140, 0),
    (70, 80, 110),
)


def class_color(label: str, labels: tuple[str, ...] = ()) -> Rgb:
    """Return a class's RGB: by its index in the model's `labels`, so that neighbours differ; else by name."""
    index = labels.index(label) if label in labels else zlib.crc32(label.encode())
    return PALETTE[index % len(PALETTE)]


def draw_detections(
    image: NDArray[np.uint8],
    detections: Iterable[tuple[str, float, Box]],
    labels: tuple[str, ...] = (),
    masks: Iterable[NDArray[np.bool_]] = (),
) -> bytes:
    """Return a PNG of the RGB image [H, W, 3] with a box and a tag (class, score) for each detection.

    A detection is (label, score, (xmin, ymin, xmax, ymax) in pixels). The first one is drawn on top, and tags of later
    ones avoid those of earlier ones. `masks`, bool [H, W] each, are none, or one for each detection.
    """
    rows = list(detections)
    canvas = Image.fromarray(_tinted(image, [class_color(label, labels) for label, _, _ in rows], masks))
    pen = ImageDraw.Draw(canvas)
    side = min(canvas.size)
    line = max(1, min(8, round(side / 250)))
    font = ImageFont.load_default(size=max(10, min(32, round(side / 48))))
    for label, _, (xmin, ymin, xmax, ymax) in reversed(rows):
        pen.rectangle((xmin, ymin, max(xmin, xmax), max(ymin, ymax)), outline=class_color(label, labels), width=line)
    tags: list[_Tag] = []
    for label, score, box in rows:
        tags.append(_tag(f"{label} {score:.2f}", font, box, tags, canvas.size))
    for (label, _, _), tag in reversed(list(zip(rows, tags, strict=True))):
        color = class_color(label, labels)
        pen.rectangle(tag.box, fill=color)
        pen.text(tag.origin, tag.text, font=font, fill=_ink(color))
    png = BytesIO()
    canvas.save(png, "PNG", compress_level=3)
    return png.getvalue()


def _tinted(image: NDArray[np.uint8], colors: Iterable[Rgb], masks: Iterable[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return the image half covered by masks; where several are, by the first."""
    tinted, free = image, np.ones(image.shape[:2], bool)
    for color, mask in zip(colors, masks, strict=False):  # no masks are as good as all of them
        if tinted is image:
            tinted = image.copy()
        shown = mask & free
        tinted[shown] = (image[shown] + np.array(color, np.uint16)) // 2
        free &= ~mask
    return tinted


@dataclass(frozen=True, slots=True)
class _Tag:
    """A text in a filled box; `origin` is the position of the text."""

    text: str
    box: Box
    origin: tuple[float, float]


def _tag(text: str, font: Font, box: Box, taken: Iterable[_Tag], canvas: tuple[int, int]) -> _Tag:
    """Return a tag at the position around its box that hides least of the tags before it.

    In case of a tie: above the box rather than below it, outside rather than inside, left rather than right.
    """
    left, top, right, bottom = font.getbbox(text)
    pad = max(1, round((bottom - top) / 5))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    xmin, ymin, xmax, ymax = box
    rows = [y for y in (ymin - height, ymax, ymin) if 0 <= y <= canvas[1] - height] or [ymin]
    columns = [max(0.0, min(x, canvas[0] - width)) for x in (xmin, xmax - width)]
    candidates = [(x, y, x + width, y + height) for y in rows for x in columns]
    others = [tag.box for tag in taken]
    best = min(candidates, key=lambda candidate: sum(_overlap(candidate, other) for other in others))
    return _Tag(text, best, (best[0] + pad - left, best[1] + pad - top))


def _overlap(a: Box, b: Box) -> float:
    """Return the area in square pixels that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _ink(color: Rgb) -> Rgb:
    """Return black or white, whichever contrasts more with the colour (Rec. 709 luma)."""
    luma = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
