"""Traces of print, scan and compression on a share of the pages."""

import io
import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Boxes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def degrade(
    image: Image.Image, boxes_xyxy: Boxes, labels: Labels, rng: random.Random
) -> tuple[Image.Image, Boxes, Labels]:
    """Leave two pages in three clean; age the others. Boxes follow a skew and stay within the image."""
    if rng.random() < 0.28:
        if rng.random() < 0.35:
            image, boxes_xyxy = skew(image, boxes_xyxy, rng)
        image = _age(image, rng)
    if rng.random() < 0.3:
        image = _compress(image, rng)
    return clipped(image, boxes_xyxy, labels)


def clipped(image: Image.Image, boxes_xyxy: Boxes, labels: Labels) -> tuple[Image.Image, Boxes, Labels]:
    """Keep the boxes' parts within the image that are at least two pixels either way."""
    np.clip(boxes_xyxy[:, 0::2], 0, image.width, out=boxes_xyxy[:, 0::2])
    np.clip(boxes_xyxy[:, 1::2], 0, image.height, out=boxes_xyxy[:, 1::2])
    kept = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1, initial=1e9) >= 2
    return image, boxes_xyxy[kept], labels[kept]


def skew(image: Image.Image, boxes_xyxy: Boxes, rng: random.Random) -> tuple[Image.Image, Boxes]:
    """Turn the page by at most 1.5 degrees about its middle; each box becomes its corners' hull."""
    degrees = rng.uniform(-1.5, 1.5)
    paper = rng.choice(((255, 255, 255), (235, 235, 235), (40, 40, 40)))
    image = image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=paper)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_x, middle_y = image.width / 2, image.height / 2
    x = boxes_xyxy[:, [0, 2, 2, 0]] - middle_x
    y = boxes_xyxy[:, [1, 1, 3, 3]] - middle_y
    turned_x, turned_y = x * cos + y * sin + middle_x, y * cos - x * sin + middle_y
    hull = np.stack([turned_x.min(1), turned_y.min(1), turned_x.max(1), turned_y.max(1)], axis=1)
    return image, hull.astype(np.float32)


def _age(image: Image.Image, rng: random.Random) -> Image.Image:
    chance = rng.random()
    if chance < 0.45:
        paper = [rng.randint(215, 255) for _ in range(3)]
        if rng.random() < 0.6:
            paper = sorted(paper, reverse=True)
        black = rng.randint(0, 70)
        table = [black + value * (white - black) // 255 for white in paper for value in range(256)]
        image = image.point(table)
    elif chance < 0.55:
        image = image.convert("L").convert("RGB")
    elif chance < 0.58:
        image = ImageOps.invert(image)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.4:
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.5))
    if rng.random() < 0.4:
        noise = np.random.default_rng(rng.getrandbits(63)).normal(0, rng.uniform(2, 10), (image.height, image.width, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image


def _compress(image: Image.Image, rng: random.Random) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=rng.randint(35, 92))
    with Image.open(data) as compressed:
        return compressed.convert("RGB")
