"""Detections drawn on their image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]

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
    """Return a class's RGB: by its place in the model's `labels`, so that neighbours differ; else by name."""
    place = labels.index(label) if label in labels else zlib.crc32(label.encode())
    return PALETTE[place % len(PALETTE)]


def draw_detections(
    image: NDArray[np.uint8],
    detections: Iterable[tuple[str, float, tuple[float, float, float, float]]],
    labels: tuple[str, ...] = (),
) -> bytes:
    """Return a PNG of the RGB image [H, W, 3] with a box and a tag (class, score) for each detection.

    A detection is (label, score, (xmin, ymin, xmax, ymax) in pixels); best first: the best lies on top.
    """
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    side = min(canvas.size)
    line = max(1, min(8, round(side / 250)))
    font = ImageFont.load_default(size=max(10, min(40, round(side / 36))))
    for label, score, (xmin, ymin, xmax, ymax) in reversed(list(detections)):
        color = class_color(label, labels)
        pen.rectangle((xmin, ymin, max(xmin, xmax), max(ymin, ymax)), outline=color, width=line)
        _draw_tag(pen, canvas.size, (xmin, ymin), f"{label} {score:.2f}", font, color)
    png = BytesIO()
    canvas.save(png, "PNG", compress_level=3)
    return png.getvalue()


def _draw_tag(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    color: Rgb,
) -> None:
    """Write the text on a filled tag above the corner, or inside the box where there is no room above."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2, round((bottom - top) / 4))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + pad - left, y + pad - top), text, font=font, fill=_ink(color))


def _ink(color: Rgb) -> Rgb:
    """Black or white, whichever stands out from the colour (Rec. 709 luma)."""
    luma = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
