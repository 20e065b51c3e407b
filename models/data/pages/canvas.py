"""The sheet that pages are drawn on: shapes on a base image, words on one ink layer per colour."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from models.data.pages.fonts import Face, Word

Colour = tuple[int, int, int]
Point = tuple[float, float]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

LINE_ABOVE = 0.86
LINE_BELOW = 0.28
"""How far a line of text reaches above and below its baseline, in font sizes, whatever its letters: as PDF readers say,
and with them PubLayNet."""

LINED = ("text", "title", "list")
"""Classes whose boxes hold whole lines."""


class Canvas:
    """Draws at `height` x `width` pixels and keeps the extent of every annotated part.

    The extent is that of the ink; with `line_boxes`, of the whole lines for text.
    """

    def __init__(self, height: int, width: int, line_boxes: bool = False) -> None:
        self.height, self.width = height, width
        self._line_boxes = line_boxes
        self._lined = False
        self.boxes: list[tuple[float, float, float, float]] = []
        self.classes: list[str] = []
        self.base = Image.new("RGB", (width, height), WHITE)
        self.draw = ImageDraw.Draw(self.base)
        self._layers: dict[Colour, npt.NDArray[np.uint8]] = {}
        self._extent: list[float] | None = None
        self._drawn = (math.inf, -math.inf)

    def sheet(self, height: int, width: int) -> "Canvas":
        """Return an empty canvas whose boxes are made like these."""
        return Canvas(height, width, self._line_boxes)

    @contextmanager
    def annotate(self, name: str) -> Iterator[None]:
        """Give all that is drawn inside the block one box of class `name`."""
        self._extent = extent = [math.inf, math.inf, -math.inf, -math.inf]
        self._lined = self._line_boxes and name in LINED
        yield
        self._extent, self._lined = None, False
        x0, y0 = max(extent[0], 0.0), max(extent[1], 0.0)
        x1, y1 = min(extent[2], float(self.width)), min(extent[3], float(self.height))
        if x1 - x0 >= 1 and y1 - y0 >= 1:
            self.boxes.append((x0, y0, x1, y1))
            self.classes.append(name)

    def _mark(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Note that the base was drawn on."""
        self._drawn = min(self._drawn[0], max(y0, 0.0)), max(self._drawn[1], min(y1, float(self.height)))
        self._grow(x0, y0, x1, y1)

    def _grow(self, x0: float, y0: float, x1: float, y1: float) -> None:
        extent = self._extent
        if extent is not None:
            if x0 < extent[0]:
                extent[0] = x0
            if y0 < extent[1]:
                extent[1] = y0
            if x1 > extent[2]:
                extent[2] = x1
            if y1 > extent[3]:
                extent[3] = y1

    def word(self, word: Word, x: float, baseline: float, colour: Colour = BLACK) -> None:
        """Put a drawn word with the pen at (x, baseline)."""
        left = int(x + 0.5) + word.left
        self._stamp(word.ink, left, int(baseline + 0.5) + word.top, colour)
        if self._lined:
            self._grow(left, baseline - LINE_ABOVE * word.size, left, baseline + LINE_BELOW * word.size)

    def _stamp(self, ink: npt.NDArray[np.uint8], x: int, y: int, colour: Colour) -> None:
        layer = self._layers.get(colour)
        if layer is None:
            layer = self._layers[colour] = np.zeros((self.height, self.width), np.uint8)
        if x < 0 or y < 0:
            ink = ink[max(-y, 0) :, max(-x, 0) :]
            x, y = max(x, 0), max(y, 0)
        h, w = ink.shape
        target = layer[y : y + h, x : x + w]
        if target.shape != ink.shape:
            h, w = target.shape
            ink = ink[:h, :w]
        if h and w:
            np.maximum(target, ink, out=target)
            self._grow(x, y, x + w, y + h)

    def text(
        self, text: str, x: float, baseline: float, face: Face, colour: Colour = BLACK, anchor: float = 0.0
    ) -> float:
        """Write one line; `anchor` 0 starts at x, 0.5 centres there, 1 ends there. Returns its width."""
        word = face.string(text)
        self.word(word, x - anchor * word.advance, baseline, colour)
        return word.advance

    def vertical_text(self, text: str, x: float, y: float, face: Face, colour: Colour = BLACK) -> None:
        """Write upwards, with the baseline at x and the middle of the text at y."""
        ink = np.rot90(face.string(text).ink)
        self._stamp(ink, int(x) - ink.shape[1], int(y - ink.shape[0] / 2), colour)

    def slanted_text(self, text: str, x: float, y: float, face: Face, degrees: float, colour: Colour = BLACK) -> None:
        """Write at an angle, anticlockwise, with the middle of the text at (x, y)."""
        turned = Image.fromarray(face.string(text).ink).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
        ink = np.asarray(turned)
        self._stamp(ink, int(x - ink.shape[1] / 2), int(y - ink.shape[0] / 2), colour)

    def line(self, points: Sequence[Point], colour: Colour = BLACK, thickness: float = 1.0) -> None:
        """Draw connected segments."""
        self.draw.line(points, fill=colour, width=max(1, round(thickness)))
        self._cover(points)

    def rectangle(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        outline: Colour | None = None,
        thickness: float = 1.0,
    ) -> None:
        """Draw a box, filled or not; the corners may come in any order."""
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        self.draw.rectangle((x0, y0, x1, y1), fill, outline, max(1, round(thickness)))
        self._mark(int(x0), int(y0), int(x1) + 1, int(y1) + 1)

    def ellipse(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        outline: Colour | None = None,
    ) -> None:
        """Draw an ellipse inside a box."""
        self.draw.ellipse((x0, y0, x1, y1), fill, outline)
        self._mark(int(x0), int(y0), int(x1) + 1, int(y1) + 1)

    def polygon(self, points: Sequence[Point], fill: Colour | None, outline: Colour | None = None) -> None:
        """Draw a closed polygon."""
        self.draw.polygon(points, fill, outline)
        self._cover(points)

    def picture(self, image: Image.Image, x: float, y: float) -> None:
        """Paste an RGB image with its corner at (x, y)."""
        self.base.paste(image, (int(x), int(y)))
        self._mark(int(x), int(y), int(x) + image.width, int(y) + image.height)

    def place(self, sheet: "Canvas", x: float, y: float, quarters: int) -> None:
        """Paste what `sheet` holds, turned anticlockwise by `quarters` right angles, and take over its boxes."""
        left, top = int(x), int(y)
        image = sheet.flatten(sheet.height, sheet.width, Image.Resampling.NEAREST)
        self.picture(image.rotate(90 * quarters, expand=True), left, top)
        for (x0, y0, x1, y1), name in zip(sheet.boxes, sheet.classes, strict=True):
            w, h = sheet.width, sheet.height
            for _ in range(quarters % 4):
                (x0, y0, x1, y1), (w, h) = (y0, w - x1, y1, w - x0), (h, w)
            self.boxes.append((left + x0, top + y0, left + x1, top + y1))
            self.classes.append(name)

    def _cover(self, points: Sequence[Point]) -> None:
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        self._mark(int(min(xs)), int(min(ys)), int(max(xs)) + 1, int(max(ys)) + 1)

    def flatten(self, height: int, width: int, resample: Image.Resampling) -> Image.Image:
        """Lay the inks over the base and reduce to the final size, band by band of what was drawn."""
        page = Image.new("RGB", (width, height), WHITE)
        if self._drawn[0] < self._drawn[1]:
            band, box, top = self._band(*self._drawn, height, width)
            page.paste(self.base.resize(band, resample, box), (0, top))
        for colour, layer in self._layers.items():
            rows = np.flatnonzero(layer.any(axis=1))
            if rows.size:
                band, box, top = self._band(int(rows[0]), int(rows[-1]) + 1, height, width)
                mask = Image.fromarray(layer).resize(band, resample, box)
                page.paste(colour, (0, top, width, top + band[1]), mask)
        return page

    def _band(
        self, first: float, last: float, height: int, width: int
    ) -> tuple[tuple[int, int], tuple[float, float, float, float], int]:
        """Return the final size, the part of the canvas and the final top of a band of canvas rows."""
        ratio = self.height / height
        top = max(0, int(first / ratio) - 1)
        bottom = min(height, int(last / ratio) + 2)
        box = (0.0, top * ratio, float(self.width), min(bottom * ratio, float(self.height)))
        return (width, bottom - top), box, top
