"""Many images with their boxes on one: `python -m models.data.contact_sheet FOLDER_OR_pages:N OUTPUT.png`.

Text is blue, a title red, a list green, a table magenta, a figure orange; any other class is grey.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from models.data.open_samples import open_samples
from models.data.samples import Sample

COLOURS: Final = {"text": "blue", "title": "red", "list": "green", "table": "magenta", "figure": "orange"}
GAP: Final = 4
"""Pixels between images."""


def contact_sheet(samples: Sequence[Sample], columns: int, side: int) -> Image.Image:
    """Lay images out row by row, each reduced to fit a square of `side` pixels, its boxes drawn in."""
    rows = -(-len(samples) // columns)
    pitch = side + GAP
    sheet = Image.new("RGB", (columns * pitch, rows * pitch), "gray")
    for index, sample in enumerate(samples):
        sheet.paste(_boxed(sample, side), (index % columns * pitch, index // columns * pitch))
    return sheet


def _boxed(sample: Sample, side: int) -> Image.Image:
    image = Image.fromarray(sample.image)
    ratio = min(1.0, side / max(image.size))
    image = image.resize((max(1, round(image.width * ratio)), max(1, round(image.height * ratio))))
    draw = ImageDraw.Draw(image)
    for box, label in zip(sample.truth.boxes_xyxy, sample.truth.labels, strict=True):
        draw.rectangle([float(value) * ratio for value in box], outline=COLOURS.get(label, "gray"))
    return image


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="as for act-detr evaluate")
    parser.add_argument("output", type=Path)
    parser.add_argument("--limit", type=int, default=20, help="images at most")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--side", type=int, default=400, help="of an image, in pixels")
    options = parser.parse_args()
    samples = list(open_samples(options.data, limit=options.limit))
    contact_sheet(samples, options.columns, options.side).save(options.output)


if __name__ == "__main__":
    main()
