"""COCO's results: what `loadRes` of pycocotools and of faster-coco-eval reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on only

Segmentation = dict[str, Any] | list[list[float]]


class CocoResult(TypedDict):
    """One object: `bbox` is [x, y, width, height] in pixels of the upright original image; `score` in 0..1.

    `segmentation` is the mask as runs or polygons, where masks were asked for.
    """

    image_id: int | str
    category_id: int
    bbox: list[float]
    score: float
    segmentation: NotRequired[Segmentation]


def coco_results(answer: Mapping[str, Any], image_id: int | str, categories: Mapping[str, int]) -> list[CocoResult]:
    """Convert an answer of `/detect` to a row for each detection, best first.

    `categories` has the id of every class by name: `category_ids` of `/model`, or those of an annotation file, whose
    own ids a comparison with it needs. Raises KeyError for a class that it lacks.
    """
    rows: list[CocoResult] = []
    for detection in answer["detections"]:
        xmin, ymin, xmax, ymax = (detection["box"][name] for name in ("xmin", "ymin", "xmax", "ymax"))
        row = CocoResult(
            image_id=image_id,
            category_id=categories[detection["label"]],
            bbox=[xmin, ymin, round(xmax - xmin, 2), round(ymax - ymin, 2)],
            score=detection["score"],
        )
        if "segmentation" in detection:
            row["segmentation"] = detection["segmentation"]
        rows.append(row)
    return rows
