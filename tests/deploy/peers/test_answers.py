"""The check that two servers answer the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploy.peers.answers import difference, expect_same


def detection(score: float = 0.9, xmin: float = 10.0, label: str = "figure") -> dict[str, Any]:
    return {"label": label, "score": score, "box": {"xmin": xmin, "ymin": 20.0, "xmax": 110.0, "ymax": 220.0}}


ANSWER = [detection(), detection(0.8, 300.0, "text"), detection(0.7, 300.0, "text")]


def test_the_order_of_detections_does_not_matter() -> None:
    assert difference(ANSWER, ANSWER[::-1]) is None
    assert difference([], []) is None


@pytest.mark.parametrize(("key", "by"), [("score", 1e-3), ("xmin", 0.01)])
def test_a_step_of_rounding_is_no_difference(key: str, by: float) -> None:
    other = copy.deepcopy(ANSWER)
    row = other[0] if key == "score" else other[0]["box"]
    row[key] += by
    assert difference(ANSWER, other) is None
    assert difference(other, ANSWER) is None


@pytest.mark.parametrize(
    ("key", "by"), [("score", 2e-3), ("xmin", 0.02), ("ymax", -0.02), ("ymin", 5), ("xmax", -0.02)]
)
def test_more_is_a_difference(key: str, by: float) -> None:
    other = copy.deepcopy(ANSWER)
    row = other[0] if key == "score" else other[0]["box"]
    row[key] += by
    assert "no detection is" in str(difference(ANSWER, other))


def test_another_label_or_number_is_a_difference() -> None:
    assert difference([detection()], [detection(label="table")]) is not None
    assert difference(ANSWER, ANSWER[:2]) == "2 detections instead of 3"


def test_each_detection_matches_one() -> None:
    twice = [detection(), detection()]
    assert difference(twice, [detection(), detection(xmin=50.0)]) is not None


def test_the_error_names_the_server_and_the_image() -> None:
    expect_same("litserve:2", [ANSWER, []], [ANSWER, []])
    with pytest.raises(SystemExit, match="litserve:2 answers image 1 otherwise than the service: 3 detections instead"):
        expect_same("litserve:2", [ANSWER, []], [ANSWER, ANSWER])
