"""What the check of an exported model lets pass, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.export.check import Differences, Reference, check_suppression, differences
from models.export.errors import ExportDiffers

CLASSES = 3


@pytest.fixture
def ours() -> Reference:
    generator = np.random.default_rng(0)
    probabilities = generator.uniform(0, 0.3, (20, CLASSES)).astype(np.float32)
    corners = generator.uniform(0, 0.5, (20, 2)).astype(np.float32)
    boxes = np.concatenate((corners, corners + np.float32(0.3)), -1)
    return Reference(np.zeros((8, 8, 3), np.uint8), probabilities, boxes, ("a", None, "c"))


@pytest.fixture
def theirs(ours: Reference) -> dict[str, Any]:
    return {
        "boxes": ours.boxes_xyxy[None].copy(),
        "scores": ours.probabilities.max(-1)[None].copy(),
        "labels": ours.probabilities.argmax(-1)[None].copy(),
        "keep": (ours.probabilities.argmax(-1) != 1)[None],
    }


def test_equal_results_differ_by_nothing(ours: Reference, theirs: dict[str, Any]) -> None:
    found = differences(ours, theirs, 1e-3)
    assert found == Differences(0, 0, 1e-3)
    found.check("it")
    check_suppression(ours, theirs, None, "it")


@pytest.mark.parametrize("name", ["boxes", "scores"])
def test_another_result_is_refused(ours: Reference, theirs: dict[str, Any], name: str) -> None:
    best = theirs["scores"][0].argmax()
    theirs[name][0, best] += 0.01
    found = differences(ours, theirs, 1e-3)
    assert getattr(found, name) == pytest.approx(0.01, rel=1e-4)
    with pytest.raises(ExportDiffers, match="nothing was written"):
        found.check("it")


def test_no_number_is_refused(ours: Reference, theirs: dict[str, Any]) -> None:
    theirs["scores"][0, 3] = np.nan
    with pytest.raises(ExportDiffers, match="nan"):
        differences(ours, theirs, 1e-3).check("it")


def test_another_class_is_refused_unless_it_is_as_probable(ours: Reference, theirs: dict[str, Any]) -> None:
    other = (theirs["labels"][0, 0] + 1) % CLASSES
    theirs["labels"][0, 0] = other
    assert differences(ours, theirs, 1e-3).scores > 0.01
    ours.probabilities[0, other] = ours.probabilities[0].max()
    assert differences(ours, theirs, 1e-3).scores == 0


def test_boxes_that_show_in_no_detection_do_not_count(ours: Reference, theirs: dict[str, Any]) -> None:
    ours.probabilities[4] = 0.001
    theirs["scores"][0, 4], theirs["labels"][0, 4] = ours.probabilities[4].max(), 0
    theirs["boxes"][0, 4] += 0.5
    assert differences(ours, theirs, 1e-3).boxes == 0
    weak = replace(ours, probabilities=ours.probabilities * 0.01)  # of all that are weak, the best do count
    theirs["boxes"][0, weak.probabilities.max(-1).argmax()] += 0.5
    theirs["scores"] = weak.probabilities.max(-1)[None]
    assert differences(weak, theirs, 1e-3).boxes == pytest.approx(0.5)


def test_boxes_that_are_kept_otherwise_are_refused(ours: Reference, theirs: dict[str, Any]) -> None:
    theirs["keep"][0, :] = True
    with pytest.raises(ExportDiffers, match="keeps 20 boxes"):
        check_suppression(ours, theirs, None, "it")
