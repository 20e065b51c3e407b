"""Non-maximum suppression without a loop over boxes, against the one that serves requests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.detections import Detections
from models.export.suppression import kept

Q = 40


def boxes_of(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Crowded boxes, with equal scores, equal boxes and boxes without an area among them."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, Q, 2, generator=generator) * 0.4
    boxes = torch.cat((corners, corners + torch.rand(2, Q, 2, generator=generator) * 0.5), -1)
    boxes[:, 5], boxes[:, 7, 2:] = boxes[:, 4], boxes[:, 7, :2]
    scores = (torch.rand(2, Q, generator=generator) * 12).round() / 12
    labels = torch.randint(0, 3, (2, Q), generator=generator)
    labels[:, 5] = labels[:, 4]
    return boxes, scores, labels


@pytest.mark.parametrize("nms", [0.1, 0.5, 0.9])
def test_the_same_boxes_are_kept_as_by_select(nms: float) -> None:
    for seed in range(20):
        boxes, scores, labels = boxes_of(seed)
        for image, keep in enumerate(kept(boxes, scores, labels, nms)):
            order = np.argsort(-scores[image].numpy(), kind="stable")
            names = tuple(str(int(labels[image, row])) for row in order)
            every = Detections(boxes[image].numpy()[order], scores[image].numpy()[order], names)
            expected = every.select(nms=nms)
            assert 0 < len(expected) < Q
            np.testing.assert_array_equal(boxes[image].numpy()[order[keep.numpy()[order]]], expected.boxes_xyxy)


def test_a_box_that_only_a_dropped_one_overlaps_is_kept() -> None:
    """A chain: the first drops the second, which therefore drops not the third; and so on to the last."""
    left = torch.arange(Q) * 0.3
    boxes = torch.stack((left, torch.zeros(Q), left + 1, torch.ones(Q)), -1)[None]
    scores = torch.linspace(1, 0.1, Q)[None]
    keep = kept(boxes, scores, torch.zeros(1, Q, dtype=torch.long), 0.5)
    assert keep[0].tolist() == [row % 2 == 0 for row in range(Q)]


def test_classes_do_not_suppress_each_other() -> None:
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5]]]).expand(1, 2, 4)
    scores, labels = torch.tensor([[0.9, 0.8]]), torch.tensor([[0, 1]])
    assert kept(boxes, scores, labels, 0.5).tolist() == [[True, True]]
    assert kept(boxes, scores, labels * 0, 0.5).tolist() == [[True, False]]
