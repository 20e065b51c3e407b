"""Clusters and attention drawn over their image."""

from __future__ import annotations

import colorsys
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]
Point = tuple[float, float]

MAX_SIDE: Final = 1024
"""Longest side of a picture in pixels."""
GOLDEN_RATIO: Final = 0.6180339887498949
LIGHTNESS: Final = (0.45, 0.62, 0.78)
"""Of the colours of clusters, in turn: three that differ for any eyes."""
TINT: Final = 0.55
"""Share of a cluster's colour; the rest is the image in grey."""
SHINE: Final = 0.82
"""Share of the colour of a weight; the rest is the image in grey."""
BORDER: Final = (20, 20, 20)

# Both rise evenly in lightness from one dark grey. Blue and orange are told apart with any kind of colour blindness.
POSITIVE: Final = ((24, 24, 24), (92, 46, 8), (163, 78, 10), (226, 124, 30), (250, 183, 92), (255, 240, 214))
NEGATIVE: Final = ((24, 24, 24), (10, 54, 96), (15, 92, 158), (50, 138, 212), (134, 190, 240), (224, 240, 255))


def draw_clusters(image: Pixels, clusters: NDArray[np.int64], point: Point | None = None) -> bytes:
    """Return a PNG of the RGB image [H, W, 3] with clusters [rows, columns], each in a colour, and their borders.

    A point (x, y) in pixels of the image is marked. The picture has at most `MAX_SIDE` pixels a side. Colours follow
    from the order in which clusters first appear, row by row, so that the same clusters always look the same.
    """
    canvas = _reduced(image)
    ids = _spread(_by_appearance(clusters), canvas.size)
    colors = np.array([_cluster_color(i) for i in range(int(ids.max()) + 1)], np.float32)
    blended = (1 - TINT) * _grey(canvas) + TINT * colors[ids]
    edges = np.zeros(ids.shape, bool)
    edges[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edges[1:] |= ids[1:] != ids[:-1]
    blended[edges] = BORDER
    return _png(blended, image, point)


def draw_weights(image: Pixels, weights: NDArray[np.float32], most: float, point: Point) -> bytes:
    """Return a PNG of the RGB image [H, W, 3], in grey, under attention weights [rows, columns].

    `most`, above 0, is the weight of the brightest colour, on a scale of square roots: a quarter of it is half as
    bright. Weights above 0 are orange, below 0 blue. The point (x, y) in pixels of the image is marked. The picture has
    at most `MAX_SIDE` pixels a side.
    """
    canvas = _reduced(image)
    shares = np.sqrt(np.abs(weights) / most).clip(0, 1)
    colors = np.where((weights < 0)[..., None], _on_ramp(shares, NEGATIVE), _on_ramp(shares, POSITIVE))
    shown = colors[_cells(canvas.size, weights.shape)]
    return _png((1 - SHINE) * _grey(canvas) + SHINE * shown, image, point)


def _reduced(image: Pixels) -> Image.Image:
    """The image at the size of the picture."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _grey(canvas: Image.Image) -> NDArray[np.float32]:
    """The picture without its colours [h, w, 1]."""
    return np.asarray(canvas.convert("L"), np.float32)[..., None]


def _cells(size: tuple[int, int], grid: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the cell under every pixel of a picture of (width, height), as indices that broadcast."""
    (width, height), (rows, columns) = size, grid
    return np.arange(height)[:, None] * rows // height, np.arange(width)[None] * columns // width


def _spread(cells: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    return cells[_cells(size, cells.shape)]


def _by_appearance(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters, numbered from 0 in the order in which they first appear."""
    _, first, ids = np.unique(clusters, return_index=True, return_inverse=True)
    return first.argsort().argsort()[ids].reshape(clusters.shape)


def _cluster_color(i: int) -> tuple[float, float, float]:
    """RGB in 0..255 of the i-th cluster: hues by the golden ratio, which puts neighbours far from one another."""
    r, g, b = colorsys.hls_to_rgb(i * GOLDEN_RATIO % 1, LIGHTNESS[i % len(LIGHTNESS)], 0.75)
    return 255 * r, 255 * g, 255 * b


def _on_ramp(shares: NDArray[np.float32], ramp: tuple[tuple[int, int, int], ...]) -> NDArray[np.float32]:
    """RGB [..., 3] of shares [...] in 0..1."""
    stops = np.linspace(0, 1, len(ramp))
    return np.stack([np.interp(shares, stops, channel) for channel in zip(*ramp, strict=True)], -1).astype(np.float32)


def _png(pixels: NDArray[np.floating[Any]], image: Pixels, point: Point | None) -> bytes:
    canvas = Image.fromarray(pixels.round().astype(np.uint8))
    if point is not None:
        _mark(canvas, point[0] * canvas.width / image.shape[1], point[1] * canvas.height / image.shape[0])
    png = BytesIO()
    canvas.save(png, "PNG", compress_level=3)
    return png.getvalue()


def _mark(canvas: Image.Image, x: float, y: float) -> None:
    """Draw a ring, white between two black ones: visible on every colour."""
    pen = ImageDraw.Draw(canvas)
    radius = max(3.0, min(canvas.size) / 60)
    for width, color in ((5, (0, 0, 0)), (2, (255, 255, 255))):
        outer = radius + width / 2
        pen.ellipse((x - outer, y - outer, x + outer, y + outer), outline=color, width=width)
