"""Fidelity in cases that are worked out by hand."""

import numpy as np
import pytest
import torch

from models.evaluation.fidelity import ImageFidelity, fidelity, matched_ious, query_drift, relative_error

SURE, UNSURE = (9.0, 0.0, 0.0), (0.0, 0.0, 9.0)
"""Logits of two classes and no-object."""


def test_drift_of_a_box_that_moved_and_one_that_stayed():
    exact = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.3, 0.3, 0.1, 0.1]])
    other = torch.tensor([[0.6, 0.5, 0.2, 0.2], [0.3, 0.3, 0.1, 0.1]])
    drift, edges = query_drift(torch.tensor([SURE, SURE]), exact, other, height=100, width=200)
    assert drift.tolist() == pytest.approx([0.1, 0], rel=1e-5)
    both_vertical_edges = (20 + 0 + 20 + 0) / 4  # by a tenth of 200
    assert edges.tolist() == pytest.approx([both_vertical_edges, 0], rel=1e-5)


def test_drift_of_a_box_that_grew():
    exact, other = torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    drift, edges = query_drift(torch.tensor([SURE]), exact, other, height=100, width=200)
    assert drift.tolist() == pytest.approx([0.2], rel=1e-5)
    assert edges.tolist() == pytest.approx([(0 + 10 + 0 + 10) / 4], rel=1e-5)


def test_drift_leaves_out_queries_that_exact_attention_is_unsure_of():
    boxes = torch.rand(2, 4)
    drift, edges = query_drift(torch.tensor([UNSURE, SURE]), boxes, boxes + torch.tensor([[9.0], [0.0]]), 10, 10)
    assert drift.tolist() == edges.tolist() == [0]
    drift, edges = query_drift(torch.tensor([UNSURE, UNSURE]), boxes, boxes, 10, 10)
    assert drift.shape == edges.shape == (0,)


def test_matched_ious_are_with_the_best_of_the_same_class(detected):
    exact = detected(((0, 0, 10, 10), 0.9, "cat"), ((20, 20, 30, 30), 0.8, "dog"))
    other = detected(
        ((0, 0, 10, 10), 0.9, "dog"),  # the position of the cat, but not its class
        ((0, 0, 5, 10), 0.8, "cat"),
        ((0, 0, 8, 10), 0.7, "cat"),
    )
    assert matched_ious(exact, other).tolist() == pytest.approx([0.8, 0], rel=1e-5)


def test_matched_ious_are_of_confident_detections_only(detected):
    exact = detected(((0, 0, 10, 10), 0.9, "cat"), ((20, 20, 30, 30), 0.4, "cat"))
    assert matched_ious(exact, detected(((0, 0, 10, 10), 0.4, "cat"))).tolist() == [0]
    assert matched_ious(exact, exact).tolist() == [1]
    assert matched_ious(exact, detected()).tolist() == [0]
    assert matched_ious(detected(), exact).shape == (0,)


def test_relative_error():
    exact = torch.tensor([3.0, 4.0])
    assert relative_error(exact, exact) == 0
    assert relative_error(torch.tensor([3.0, 4.5]), exact) == pytest.approx(0.1, rel=1e-5)


def test_means_are_over_queries_not_over_images():
    many = ImageFidelity(np.array([0.1, 0.1, 0.1]), np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.4]), 0.1)
    one = ImageFidelity(np.array([0.5]), np.array([5.0]), np.array([0.5]), 0.3)
    total = fidelity([many, one])
    assert total.queries == 4
    assert total.box_drift == pytest.approx(0.2)
    assert total.edge_drift == pytest.approx(2)
    assert total.matched_iou == pytest.approx(1.9 / 3)
    assert total.match_rate == pytest.approx(2 / 3)
    assert total.encoder_error == pytest.approx(0.2)


def test_fidelity_without_confident_queries_has_no_means():
    none = np.array([])
    total = fidelity([ImageFidelity(none, none, none, 0.25)])
    assert (total.queries, total.box_drift, total.edge_drift) == (0, None, None)
    assert (total.matched_iou, total.match_rate, total.encoder_error) == (None, None, 0.25)
