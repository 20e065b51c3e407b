"""One drawn page with the exact boxes of its parts."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.data.pages.canvas import Canvas
from models.data.pages.degradation import Boxes, Labels, degrade
from models.data.pages.kinds import kind_of
from models.data.pages.layout import compose
from models.data.pages.photocopy import photocopy
from models.data.pages.style import draw_style
from models.named_models import PAGE_LABELS

LONGEST_CANVAS = 960
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.HAMMING, Image.Resampling.BICUBIC)

Kinds = Literal["pages", "journals"]
"""`pages` are of all kinds, most of them a journal's; `journals` are a journal's alone, equations without a box."""
Composer = Callable[[Canvas, random.Random], None]
Finish = Callable[[Image.Image, Boxes, Labels, random.Random], tuple[Image.Image, Boxes, Labels]]


@dataclass(frozen=True, slots=True)
class Page:
    """An RGB image, float32 boxes_xyxy [n, 4] in its pixels, and int64 labels [n] that index PAGE_LABELS."""

    image: Image.Image
    boxes_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def render_page(seed: int, height: int, width: int, kinds: Kinds = "pages") -> Page:
    """Draw the page of `seed` at height x width pixels; the same arguments give the same page."""
    rng = random.Random(f"{seed}:{height}:{width}")
    if kinds == "journals":
        return draw_page(rng, height, width, journal_page, degrade, line_boxes=False)
    kind = kind_of(seed, height, width)
    copied = random.Random(f"copied {seed}").random() < kind.copies
    return draw_page(rng, height, width, kind.compose, photocopy if copied else degrade)


def draw_page(
    rng: random.Random, height: int, width: int, composer: Composer, finish: Finish, line_boxes: bool = True
) -> Page:
    """Compose a page on a larger canvas, reduce it to height x width pixels, and finish it."""
    enlargement = max(1.0, min(rng.uniform(1.4, 2.3), LONGEST_CANVAS / max(height, width)))
    canvas = Canvas(round(height * enlargement), round(width * enlargement), line_boxes)
    composer(canvas, rng)
    image = canvas.flatten(height, width, rng.choice(_FILTERS))
    boxes = np.array(canvas.boxes, np.float32).reshape(-1, 4)
    boxes *= np.array([width / canvas.width, height / canvas.height] * 2, np.float32)
    labels = np.array([PAGE_LABELS.index(name) for name in canvas.classes], np.int64)
    return Page(*finish(image, boxes, labels, rng))


def journal_page(canvas: Canvas, rng: random.Random) -> None:
    """Compose one of `journals`."""
    compose(canvas, rng, draw_style(rng, canvas.height, canvas.width))
