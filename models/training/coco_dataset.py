"""A COCO-format data set to train on: its images by number, with labelled boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.data.coco import CocoImage, read_coco
from models.data.coco_files import CocoFiles
from models.data.image_files import read_rgb
from models.training.labelled_image import LabelledImage, clipped


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """Images, also those without objects, and the objects that training may learn.

    `labels[k]` names class k, None where the model's id k is unused. `sizes` int [n, 2]: height and width.
    Image i has the rows starts[i]..starts[i + 1] - 1 of `boxes_xyxy`, float32 [m, 4] in pixels inside the image,
    and of `classes`, int64 [m]: few big arrays, which worker processes share with their parent. `crowds` and
    `degenerate` count the annotations left out: of crowds, and those without an area inside their image.
    """

    images: Path
    labels: tuple[str | None, ...]
    file_names: tuple[str, ...]
    sizes: Tensor
    starts: Tensor
    boxes_xyxy: Tensor
    classes: Tensor
    crowds: int
    degenerate: int

    @classmethod
    def read(cls, files: CocoFiles, labels: Sequence[str | None] | None = None) -> CocoDataset:
        """Read the annotations and see that every image file is there.

        Without `labels`, the file's categories are the classes, in the order of their ids (`read_labels`).

        Raises OSError for a file that cannot be read or is missing, and ValueError for annotations that are not
        COCO's, without images, or of a class that `labels` does not have.
        """
        records = read_coco(files.annotations)
        if not records:
            raise ValueError(f"{files.annotations} lists no images")
        known = tuple(labels) if labels is not None else read_labels(files.annotations)
        _check_labels(records, known, files.annotations)
        _check_files(records, files.images)
        sizes = torch.tensor([(record.height, record.width) for record in records])
        owners, boxes, classes, crowd = _objects(records, known)
        boxes, kept = clipped(boxes[~crowd], *sizes[owners[~crowd]].unbind(-1))
        owners, classes = owners[~crowd][kept], classes[~crowd][kept]
        return cls(
            images=files.images,
            labels=known,
            file_names=tuple(record.file_name for record in records),
            sizes=sizes,
            starts=torch.searchsorted(owners, torch.arange(len(records) + 1)),
            boxes_xyxy=boxes,
            classes=classes,
            crowds=int(crowd.sum()),
            degenerate=int((~kept).sum()),
        )

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> LabelledImage:
        """Decode one image. Raises OSError and ValueError, naming the file, as `read_rgb` does."""
        height, width = self.sizes[index].tolist()
        pixels = read_rgb(self.images / self.file_names[index], height, width)
        rows = slice(int(self.starts[index]), int(self.starts[index + 1]))
        # A copy: Pillow's array is read-only and has the channels last.
        image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        return LabelledImage(image, self.boxes_xyxy[rows], self.classes[rows])


def read_labels(annotations: Path) -> tuple[str, ...]:
    """The names of a COCO file's categories in the order of their ids, which may have gaps.

    A category that only groups others, as Roboflow writes one, is not a class. Raises OSError and ValueError.
    """
    try:
        document = json.loads(annotations.read_text(encoding="utf-8"))
        categories: list[dict[str, Any]] = sorted(document["categories"], key=lambda category: int(category["id"]))
        used = {row["category_id"] for row in document["annotations"]}
        groups = {row.get("supercategory") for row in categories if row.get("supercategory") != row["name"]}
        names = [str(row["name"]) for row in categories if row["id"] in used or row["name"] not in groups]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} is not a COCO annotation file: {error!r}") from error
    if not names:
        raise ValueError(f"{annotations} has no categories")
    return tuple(dict.fromkeys(names))


def _objects(records: Sequence[CocoImage], labels: Sequence[str | None]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All m annotations: their image's place, boxes_xyxy [m, 4], classes, and bool: whether of a crowd."""
    places = {name: place for place, name in enumerate(labels)}
    truths = [record.truth for record in records]
    owners = np.repeat(np.arange(len(truths)), [len(truth.labels) for truth in truths])
    boxes = np.concatenate([truth.boxes_xyxy for truth in truths], dtype=np.float32)
    classes = np.array([places[name] for truth in truths for name in truth.labels], np.int64)
    crowds = [np.zeros(len(truth.labels), bool) if truth.crowd is None else truth.crowd for truth in truths]
    owned, boxed, classed, crowd = map(torch.from_numpy, (owners, boxes, classes, np.concatenate(crowds)))
    return owned, boxed, classed, crowd


def _check_labels(records: Sequence[CocoImage], labels: Sequence[str | None], annotations: Path) -> None:
    unknown = sorted({name for record in records for name in record.truth.labels} - set(labels))
    if unknown:
        raise ValueError(f"{annotations} has classes that the model does not know: {', '.join(unknown)}")


def _check_files(records: Sequence[CocoImage], images: Path) -> None:
    missing = [record.file_name for record in records if not (images / record.file_name).is_file()]
    if missing:
        more = f", nor {len(missing) - 1} more of its annotated images" if len(missing) > 1 else ""
        raise FileNotFoundError(f"there is no {images / missing[0]}{more}")
