import numpy as np
import pytest

from models.detections import Detections


@pytest.fixture
def three():
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Detections(boxes, np.array([0.9, 0.5, 0.1], np.float32), ("a", "b", "a"))


def test_select_keeps_order_and_boxes(three):
    kept = three.select(threshold=0.1, max_detections=2, labels={"a"})
    assert list(kept) == [
        ("a", pytest.approx(0.9), (0.0, 1.0, 2.0, 3.0)),
        ("a", pytest.approx(0.1), (8.0, 9.0, 10.0, 11.0)),
    ]


def test_threshold_is_inclusive(three):
    assert len(three.select(threshold=0.5)) == 2
    assert len(three.select(threshold=0.91)) == 0


def test_at_most_so_many(three):
    assert three.select(max_detections=1).labels == ("a",)
    assert len(three.select(max_detections=0)) == 0
