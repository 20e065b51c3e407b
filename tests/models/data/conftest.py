"""Small annotation files in COCO's format, with their images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.data.coco import read_coco
from models.data.coco_files import CocoFiles
from models.data.findings import DataError

CATS = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., CocoFiles]:
    """Return a function that writes annotations of a.png (id 0) and b.png (id 10), 40 x 30 pixels, which are there."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)

    def files(annotations: Any = None, images: Any = None, categories: Any = CATS, **more: Any) -> CocoFiles:
        listed = [{"id": 10 * n, "file_name": f"{name}.png", "height": 30, "width": 40} for n, name in enumerate("ab")]
        document = {
            "images": listed if images is None else images,
            "annotations": [cat()] if annotations is None else list(annotations),
            "categories": categories,
        }
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(document | more))
        return CocoFiles(path, (tmp_path,))

    return files


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """Return a function that returns an annotation of a cat in b.png, with changes; "absent": without that field."""
    return cat


def cat(**changes: Any) -> dict[str, Any]:
    whole = {"id": 2, "image_id": 10, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 150, "iscrowd": 0} | changes
    return {name: value for name, value in whole.items() if value != "absent"}


@pytest.fixture(scope="session")
def refused() -> Callable[[CocoFiles], str]:
    """Return a function that reads files which are to be refused, and returns the message."""

    def message(files: CocoFiles) -> str:
        with pytest.raises(DataError) as caught:
            read_coco(files)
        assert str(files.annotations) in str(caught.value)
        return str(caught.value)

    return message
