"""A small data set in COCO's format, drawn and written by the test that asks for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


@pytest.fixture(scope="session")
def write_coco() -> Callable[..., Path]:
    """Return a function (json path, image folder, count=5, **changes to the document) that returns the json path.

    Image i is 60 + 4i pixels wide and 48 high, its first half of columns has the colour (40i, 0, 200), and it has
    i objects: cats and dogs by turns.
    """

    def write(annotations: Path, images: Path, count: int = 5, **changes: Any) -> Path:
        annotations.parent.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES}
        for number in range(count):
            name, width, height = f"{number:03}.png", 60 + 4 * number, 48
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[:, : width // 2] = (40 * number % 256, 0, 200)
            Image.fromarray(pixels).save(images / name)
            document["images"].append({"id": 10 * number, "file_name": name, "height": height, "width": width})
            for place in range(number):
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": 10 * number,
                        "category_id": (3, 7)[place % 2],
                        "bbox": [4 + 6 * place, 5, 20, 30],
                        "area": 600,
                        "iscrowd": 0,
                    }
                )
        annotations.write_text(json.dumps(document | changes))
        return annotations

    return write
