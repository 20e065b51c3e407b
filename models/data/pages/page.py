"""One drawn page of a journal with the exact boxes of its parts."""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.config import PAGE_LABELS
from models.data.pages.canvas import Canvas
from models.data.pages.degradation import degrade
from models.data.pages.layout import compose
from models.data.pages.style import draw_style

LONGEST_CANVAS = 960
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.HAMMING, Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True)
class Page:
    """An RGB image, float32 boxes_xyxy [n, 4] in its pixels, and int64 labels [n] that index PAGE_LABELS."""

    image: Image.Image
    boxes_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def render_page(seed: int, height: int, width: int) -> Page:
    """Draw the page of `seed` at height x width pixels; the same arguments give the same page."""
    rng = random.Random(f"{seed}:{height}:{width}")
    enlargement = max(1.0, min(rng.uniform(1.4, 2.3), LONGEST_CANVAS / max(height, width)))
    canvas = Canvas(round(height * enlargement), round(width * enlargement))
    compose(canvas, rng, draw_style(rng, canvas.height, canvas.width))
    image = canvas.flatten(height, width, rng.choice(_FILTERS))
    boxes = np.array(canvas.boxes, np.float32).reshape(-1, 4)
    boxes *= np.array([width / canvas.width, height / canvas.height] * 2, np.float32)
    labels = np.array([PAGE_LABELS.index(name) for name in canvas.classes], np.int64)
    return Page(*degrade(image, boxes, labels, rng))
