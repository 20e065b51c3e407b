"""Generated pages as a data set in COCO's format: `python -m models.data.write_pages DIR --train 200 --val 50`.

Use it to try commands without data of your own, and as a pattern for your own labels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from models.data.pages import Page, render_page
from models.data.pages.held_out import HELD_OUT_SEEDS
from models.named_models import PAGE_LABELS

JPEG_QUALITY = 92
LETTER = (792, 612)
"""Height and width of a letter page at 72 dots per inch."""


def write_pages(folder: Path, train: int, val: int, height: int = LETTER[0], width: int = LETTER[1]) -> None:
    """Write train2017/ and val2017/ and their annotations, named as COCO's own.

    Page i is always the same; those of val2017/ are the held-out ones. Pages are height x width pixels.
    """
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, first, count in (("train2017", 0, train), ("val2017", HELD_OUT_SEEDS, val)):
        images = folder / split
        images.mkdir(exist_ok=True)
        pages = []
        for index in track(range(count), f"drawing {split}"):
            page = render_page(first + index, height, width)
            page.image.save(images / file_name(index), quality=JPEG_QUALITY)
            pages.append(page)
        annotations = folder / "annotations" / f"instances_{split}.json"
        annotations.write_text(json.dumps(as_coco(pages)), encoding="utf-8")


def file_name(index: int) -> str:
    """Name of a page's picture."""
    return f"{index:06}.jpg"


def as_coco(pages: Sequence[Page]) -> dict[str, Any]:
    """COCO's description of pages 0, 1, ...: ids count from 1."""
    images = [
        {"id": index + 1, "file_name": file_name(index), "width": page.image.width, "height": page.image.height}
        for index, page in enumerate(pages)
    ]
    objects = [
        (index + 1, int(label) + 1, [round(float(value), 2) for value in box])
        for index, page in enumerate(pages)
        for box, label in zip(page.boxes_xyxy, page.labels, strict=True)
    ]
    return {
        "images": images,
        "categories": [{"id": id_, "name": name} for id_, name in enumerate(PAGE_LABELS, 1)],
        "annotations": [
            _annotation(index, image, category, box) for index, (image, category, box) in enumerate(objects, 1)
        ],
    }


def _annotation(index: int, image: int, category: int, box_xyxy: Sequence[float]) -> dict[str, Any]:
    xmin, ymin, xmax, ymax = box_xyxy
    width, height = round(xmax - xmin, 2), round(ymax - ymin, 2)
    return {
        "id": index,
        "image_id": image,
        "category_id": category,
        "bbox": [xmin, ymin, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=200, help="pages to train on")
    parser.add_argument("--val", type=int, default=50, help="pages to validate on")
    parser.add_argument("--height", type=int, default=LETTER[0], help="in pixels")
    parser.add_argument("--width", type=int, default=LETTER[1], help="in pixels")
    options = parser.parse_args()
    write_pages(options.folder, options.train, options.val, options.height, options.width)


if __name__ == "__main__":
    main()
