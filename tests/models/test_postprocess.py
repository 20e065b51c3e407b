import numpy as np
import torch

from models.postprocess import read_detections
from models.preprocess import PreparedImage

IMAGE = PreparedImage(torch.zeros(3, 10, 20, dtype=torch.uint8), original_height=100, original_width=200)


def test_best_first_in_pixels_inside_the_image():
    logits = torch.tensor([[0.0, 2.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.0, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    detections = read_detections(logits, boxes, IMAGE, ("a", "b"))
    assert detections.labels[:2] == ("a", "b")
    np.testing.assert_allclose(detections.boxes_xyxy[:2], [[0, 75, 50, 100], [80, 30, 120, 70]], atol=1e-4)
    expected = torch.softmax(logits, -1)[:, :2].amax(-1).sort(descending=True).values
    np.testing.assert_allclose(detections.scores, expected, rtol=4 * np.finfo(np.float32).eps)


def test_unused_ids_are_left_out():
    detections = read_detections(torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]), torch.rand(2, 4), IMAGE, (None, "b"))
    assert detections.labels == ("b",)
    assert detections.boxes_xyxy.shape == (1, 4)
