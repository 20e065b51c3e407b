"""Bilevel scans: thresholded fax and photocopy pages with specks, black margins, skew and show-through."""

import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.data.pages.degradation import Boxes, Labels, clipped, skew

FINER = 2
"""Pixels of a scan to one of the page, on either axis: a scan made smaller gets greys from its black and white."""


def photocopy(
    image: Image.Image, boxes_xyxy: Boxes, labels: Labels, rng: random.Random
) -> tuple[Image.Image, Boxes, Labels]:
    """Make a page black and white as a fax or a copier leaves it. Boxes follow a skew and stay within the image."""
    noise = np.random.default_rng(rng.getrandbits(63))
    size = image.size
    image = image.resize((FINER * image.width, FINER * image.height), Image.Resampling.BICUBIC)
    boxes_xyxy = boxes_xyxy * FINER
    if rng.random() < 0.6:
        image, boxes_xyxy = skew(image, boxes_xyxy, rng)
    grey = image.convert("L")
    if rng.random() < 0.35:  # a fax has half as many lines
        height = round(grey.height * rng.uniform(0.6, 0.9))
        grey = grey.resize((grey.width, height), Image.Resampling.BOX).resize(grey.size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        grey = grey.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    values = np.array(grey)
    if rng.random() < 0.2:  # the other side of the sheet
        behind = np.asarray(grey.filter(ImageFilter.GaussianBlur(1.5)))[:, ::-1]
        shade = 255 - ((255 - behind) * rng.uniform(0.25, 0.5)).astype(np.uint8)
        np.minimum(values, shade, out=values)
    rough = noise.integers(-60, 61, (values.shape[0] // 2 + 1, values.shape[1] // 2 + 1), np.int16)
    rough = rough.repeat(2, axis=0).repeat(2, axis=1)[: values.shape[0], : values.shape[1]]
    level = rng.uniform(125, 205)  # a low one breaks strokes, a high one fills them
    amount = rng.choice((0.0, 0.2, 0.4, 0.8))
    values = np.where(values + (rough * amount).astype(np.int16) < level, 0, 255).astype(np.uint8)
    _specks(values, noise, rng)
    _margins(values, noise, rng)
    if rng.random() < 0.4:  # kept as a grey picture
        values = np.asarray(Image.fromarray(values).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.6))))
    scan = Image.fromarray(values).resize(size, Image.Resampling.BOX)
    return clipped(scan.convert("RGB"), boxes_xyxy / np.float32(FINER), labels)


def _specks(values: npt.NDArray[np.uint8], noise: np.random.Generator, rng: random.Random) -> None:
    """Strew black and white dots of one to three pixels."""
    height, width = values.shape
    for ink, most in ((0, 0.0015), (255, 0.003)):
        count = int(values.size * most * rng.random() ** 2)
        rows, columns = noise.integers(0, height - 2, count), noise.integers(0, width - 2, count)
        values[rows, columns] = ink
        large = count // 4
        for down, right in ((0, 1), (1, 0), (1, 1)):
            values[rows[:large] + down, columns[:large] + right] = ink


def _margins(values: npt.NDArray[np.uint8], noise: np.random.Generator, rng: random.Random) -> None:
    """Blacken ragged strips along some edges, as a copier without its lid does, at most a fortieth of the page wide."""
    for turns in range(4):
        if rng.random() < 0.2:
            edge = np.rot90(values, turns)
            reach = edge.shape[1] // 40
            depth = noise.integers(0, max(2, reach // 3), edge.shape[0]) + rng.randint(0, max(1, reach * 2 // 3))
            edge[np.arange(edge.shape[1])[None, :] < depth[:, None]] = 0
    if rng.random() < 0.15:  # punched holes
        radius = max(2, values.shape[1] // 90)
        for place in (0.25, 0.5, 0.75):
            y, x = int(values.shape[0] * place), 2 * radius
            rows, columns = np.ogrid[-radius:radius, -radius:radius]
            values[y - radius : y + radius, x - radius : x + radius][rows**2 + columns**2 < radius**2] = 0
