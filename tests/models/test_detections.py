import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

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


def overlapping():
    """Two of one class with an IoU of 0.8; one where the first is, of another class; one far away."""
    boxes = np.array([[0, 0, 8, 10], [0, 0, 10, 10], [0, 0, 8, 10], [20, 20, 30, 30]], np.float32)
    return Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), ("a", "a", "b", "a"))


def test_nms_drops_overlaps_with_a_better_one_of_the_class():
    assert list(overlapping().select(nms=0.79)) == [list(overlapping())[row] for row in (0, 2, 3)]
    assert len(overlapping().select(nms=0.81)) == 4
    assert len(overlapping().select()) == 4


def test_nms_comes_after_the_threshold_and_before_the_max_count():
    assert overlapping().select(max_detections=2, nms=0.5).labels == ("a", "b")
    assert overlapping().select(threshold=0.65, nms=0.5).labels == ("a", "b")


def test_nms_keeps_the_first_of_equal_scores():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10]], np.float32)
    twins = Detections(boxes, np.array([0.5, 0.5], np.float32), ("a", "a"))
    assert twins.select(nms=0.5).boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_nms_of_no_detections():
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    assert len(nothing.select(nms=0.5)) == 0


def test_nms_is_torchvisions():
    generator = np.random.default_rng(0)
    for _ in range(20):
        low = generator.random((60, 2), np.float32) * 50
        boxes = np.concatenate((low, low + generator.random((60, 2), np.float32) * 40), 1)
        boxes[5, 2:] = boxes[6, 2:] = boxes[5, :2] = boxes[6, :2]  # without area, twice
        classes = generator.integers(0, 3, 60)
        scores = np.sort(generator.random(60).astype(np.float32))[::-1].copy()
        every = Detections(boxes, scores, tuple("abc"[i] for i in classes))
        arguments = (torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes), 0.3)
        expected = batched_nms(*arguments).sort().values.numpy()
        assert list(every.select(nms=0.3)) == [list(every)[row] for row in expected]
        assert len(expected) < 60
