"""A COCO annotation file as it lies on the disk: its three lists, and its categories as classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.data.fields import Key, key_or_none, read_key, read_name
from models.data.findings import DataError, Findings, Problem, shown

SECTIONS: Final = ("images", "annotations", "categories")

SAME_NAME: Final = "categories of the same name, taken as one class"


@dataclass(frozen=True, slots=True)
class CocoDocument:
    """The lists of an annotation file, with rows as JSON gives them."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    @classmethod
    def load(cls, path: Path) -> CocoDocument:
        """Read a file in UTF-8, with a byte order mark or without. Raises OSError and DataError."""
        try:
            document = json.loads(path.read_bytes())
        except ValueError as error:  # of the encoding or of JSON
            raise _refused(path, f"is not a COCO annotation file: {error}") from None
        except RecursionError:
            raise _refused(path, "is not a COCO annotation file: it is nested too deeply") from None
        reason = _unusable(document)
        if reason is not None:
            raise _refused(path, reason)
        return cls(path, *(document[name] for name in SECTIONS))


def read_categories(document: CocoDocument, findings: Findings) -> dict[Key, str]:
    """The name of every category by its id; several may have the same name."""
    names: dict[Key, str] = {}
    ids: dict[str, Key] = {}
    for index, row in enumerate(document.categories):
        where, field = f"categories[{index}]", "id"
        try:
            key = read_key(row.get("id"))
            field = "name"
            name = read_name(row.get("name"))
        except ValueError as error:
            findings.problem(where, field, f"{shown(row.get(field))} {error}")
            continue
        if names.setdefault(key, name) != name:
            findings.problem(where, "id", f"{shown(key)} is of {shown(names[key])} and of {shown(name)}")
        elif ids.setdefault(name, key) != key:
            findings.notice(SAME_NAME, f"{name}: {ids[name]} and {key}")
    return names


def class_order(document: CocoDocument, names: dict[Key, str]) -> tuple[str, ...]:
    """The classes in the order of their ids, numbers before words.

    A category that only groups others, as Roboflow writes one, is not a class unless something is labelled with it.
    """
    used = {key_or_none(row.get("category_id")) for row in document.annotations}
    parents = {
        parent
        for row in document.categories
        if isinstance(parent := row.get("supercategory"), str) and parent != row.get("name")
    }
    ordered = sorted(names, key=lambda key: (isinstance(key, str), key))
    return tuple(dict.fromkeys(names[key] for key in ordered if key in used or names[key] not in parents))


def _unusable(document: Any) -> str | None:
    """The reason why a JSON document is no ground truth for detection; None if it may be."""
    if isinstance(document, list) and document and isinstance(document[0], dict) and "score" in document[0]:
        return "holds detections with scores, not ground truth"
    if not isinstance(document, dict) or "images" not in document:
        return "is not a COCO annotation file: it has no images"
    if "annotations" not in document:
        return "lists images without annotations, as COCO's test splits do: there is nothing to learn or to score"
    rows = document["annotations"]
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    if "segments_info" in first:
        return "holds panoptic segments; boxes are in COCO's instances_*.json"
    if "caption" in first and "bbox" not in first:
        return "holds captions; boxes are in COCO's instances_*.json"
    if "keypoints" in first and not first.get("bbox") and not first.get("segmentation"):
        return "holds keypoints without boxes; boxes are in COCO's instances_*.json"
    for name in SECTIONS:
        rows = document.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return f"is not a COCO annotation file: its {name} are no list of objects"
    return None


def _refused(path: Path, reason: str) -> DataError:
    return DataError(str(path), (Problem("", "", reason),))
