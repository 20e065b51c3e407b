"""A COCO-format data set to train on: its images by index, with labelled boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.data.coco import CocoImage, read_coco
from models.data.coco_files import CocoFiles
from models.data.coco_objects import NO_AREA
from models.data.findings import Notices
from models.data.image_files import read_rgb
from models.training.data.labelled_image import LabelledImage, clipped

CROWDS: Final = "crowds, not learnt from"


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """Images, also those without objects, and the objects that training may learn.

    `labels[k]` names class k. `sizes` int [n, 2]: height and width. Image i has the rows starts[i]..starts[i + 1] - 1
    of `boxes_xyxy`, float32 [m, 4] in pixels inside the image, and of `classes`, int64 [m]: few big arrays, which
    worker processes share with their parent. `notices` tell of what was left out and assumed.
    """

    images: Path
    labels: tuple[str | None, ...]
    file_names: tuple[str, ...]
    sizes: Tensor
    starts: Tensor
    boxes_xyxy: Tensor
    classes: Tensor
    notices: Notices

    @classmethod
    def read(cls, files: CocoFiles) -> CocoDataset:
        """Read the annotations and check that every image file exists; classes are in the order of their ids.

        Raises OSError for a file that cannot be opened, and ValueError for annotations that are not COCO's, images
        that are missing or of another size than annotated, and no object to learn.
        """
        data = read_coco(files)
        sizes = torch.tensor([(image.height, image.width) for image in data.images])
        owners, boxes, classes, crowd = _objects(data.images, data.classes)
        boxes, kept = clipped(boxes[~crowd], *sizes[owners[~crowd]].unbind(-1))
        owners, classes = owners[~crowd][kept], classes[~crowd][kept]
        return cls(
            images=data.folder,
            labels=data.classes,
            file_names=tuple(image.file_name for image in data.images),
            sizes=sizes,
            starts=torch.searchsorted(owners, torch.arange(len(data.images) + 1)),
            boxes_xyxy=boxes,
            classes=classes,
            notices=data.notices.also(CROWDS, int(crowd.sum())).also(NO_AREA, int((~kept).sum())),
        )

    def for_labels(self, labels: Sequence[str | None]) -> CocoDataset:
        """The same with a model's classes, by name; None where an id of the model is unused.

        Raises ValueError for a class that the model does not know.
        """
        unknown = sorted(str(name) for name in set(self.labels) - set(labels))
        if unknown:
            raise ValueError(f"the data has classes that the model does not know: {', '.join(unknown)}")
        ids = torch.tensor([labels.index(name) for name in self.labels])
        return replace(self, labels=tuple(labels), classes=ids[self.classes])

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


def _objects(images: Sequence[CocoImage], labels: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All m annotations: their image's index, boxes_xyxy [m, 4], classes, and bool: whether of a crowd."""
    ids = {name: index for index, name in enumerate(labels)}
    truths = [image.truth for image in images]
    owners = np.repeat(np.arange(len(truths)), [len(truth.labels) for truth in truths])
    boxes = np.concatenate([truth.boxes_xyxy for truth in truths], dtype=np.float32)
    classes = np.array([ids[name] for truth in truths for name in truth.labels], np.int64)
    crowds = [np.zeros(len(truth.labels), bool) if truth.crowd is None else truth.crowd for truth in truths]
    owned, boxed, classed, crowd = map(torch.from_numpy, (owners, boxes, classes, np.concatenate(crowds)))
    return owned, boxed, classed, crowd
