"""The number that COCO's format gives each class of a model."""

from __future__ import annotations

from collections.abc import Sequence

from models.named_models import coco_labels


def category_ids(labels: Sequence[str | None]) -> dict[str, int]:
    """Return the category id of each class, by name. `labels` are those of `DetrConfig.labels`.

    A model whose classes have gaps (None) was trained with the ids of its data set: they are the indices. This holds
    for the published DETRs, whose ids are COCO's own. A model that has exactly COCO's 80 classes without the gaps gets
    COCO's ids as well. Any other model's classes are numbered from 1, in their order: where it was trained on a file
    with the ids 1, 2, 3, ..., they are those of the file.
    """
    if None in labels:
        return {label: index for index, label in enumerate(labels) if label is not None}
    coco = {label: index for index, label in enumerate(coco_labels()) if label is not None}
    if set(labels) == set(coco):
        return coco
    return {label: index for index, label in enumerate(labels, 1) if label is not None}
