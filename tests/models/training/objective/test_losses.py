"""Loss values worked out by hand, and gradients by finite differences."""

import math

import pytest
import torch

from models.training.objective.losses import BACKGROUND_WEIGHT, DenseGuess, dense_loss, owners, set_loss
from models.training.objective.matcher import PaddedTargets, Target

LEFT, RIGHT = [0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]


def target(labels: list[int], boxes: list[list[float]]) -> Target:
    return Target(torch.tensor(labels, dtype=torch.int64), torch.tensor(boxes).reshape(-1, 4))


def random_targets(*counts: int, classes: int = 3) -> list[Target]:
    return [Target(torch.randint(classes, (n,)), torch.rand(n, 4) * 0.4 + 0.2) for n in counts]


def test_set_loss_worked_by_hand():
    # Two queries, one object on the right: query 0 lies left (L1 0.5, GIoU 0) but is sure of the class;
    # query 1 is surely nothing. Matching costs: 2.5 - 3/4 against 5 * 1.25 - 1/8 + ...: query 0 is matched.
    logits = torch.tensor([[3.0, 1.0], [1.0, 7.0]]).log()[None, None]
    boxes = torch.tensor([LEFT, [0.25, 0.25, 0.5, 0.5]])[None, None]
    loss = set_loss(logits, boxes, [target([0], [RIGHT])])
    assert loss.class_.item() == pytest.approx((-math.log(3 / 4) - 0.1 * math.log(7 / 8)) / 1.1, rel=1e-5)
    assert loss.l1.item() == pytest.approx(0.5, rel=1e-5)
    assert loss.giou.item() == pytest.approx(1, rel=1e-5)
    assert loss.total.item() == pytest.approx(loss.class_.item() + 5 * 0.5 + 2, rel=1e-5)


def test_boxes_are_normalised_by_the_ground_truth_of_the_batch():
    boxes = torch.tensor([[LEFT], [LEFT], [LEFT]])[None]
    targets = [target([0], [RIGHT]), target([0], [LEFT]), target([], [])]
    loss = set_loss(torch.zeros(1, 3, 1, 2), boxes, targets)
    assert loss.l1.item() == pytest.approx(0.5 / 2, rel=1e-5)
    assert loss.giou.item() == pytest.approx(1 / 2, rel=1e-5)


def test_repeats_normalise_too():
    boxes = torch.tensor([LEFT, LEFT, LEFT])[None, None]
    loss = set_loss(torch.zeros(1, 1, 3, 2), boxes, [target([0], [RIGHT])], repeats=2)
    assert loss.l1.item() == pytest.approx(0.5, rel=1e-5)
    assert loss.class_.item() == pytest.approx(math.log(2), rel=1e-5)


def test_layers_are_matched_one_by_one_and_summed():
    torch.manual_seed(0)
    logits, boxes = torch.randn(3, 2, 5, 4), torch.rand(3, 2, 5, 4)
    targets = random_targets(2, 4)
    together = set_loss(logits, boxes, targets)
    apart = [set_loss(logits[layer : layer + 1], boxes[layer : layer + 1], targets) for layer in range(3)]
    torch.testing.assert_close(together.class_, torch.stack([loss.class_ for loss in apart]).sum())
    torch.testing.assert_close(together.l1, torch.stack([loss.l1 for loss in apart]).sum())
    torch.testing.assert_close(together.giou, torch.stack([loss.giou for loss in apart]).sum())


def test_without_ground_truth_only_the_class_counts():
    logits = torch.zeros(1, 2, 3, 2, requires_grad=True)
    boxes = torch.rand(1, 2, 3, 4, requires_grad=True)
    loss = set_loss(logits, boxes, [target([], [])] * 2)
    assert loss.class_.item() == pytest.approx(math.log(2), rel=1e-5)
    assert loss.l1.item() == loss.giou.item() == 0
    loss.total.backward()
    assert boxes.grad is not None
    assert not boxes.grad.any()
    assert logits.grad is not None
    assert logits.grad.any()


@pytest.mark.parametrize("repeats", [1, 2])
def test_set_loss_gradient(repeats):
    torch.manual_seed(1)
    logits = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    boxes = (torch.rand(2, 2, 4, 4, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    targets = random_targets(2, 1, classes=2)
    assert torch.autograd.gradcheck(
        lambda logits, boxes: set_loss(logits, boxes, targets, repeats).total, (logits, boxes)
    )


def test_reduced_precision_gives_a_float32_loss():
    loss = set_loss(torch.zeros(1, 1, 2, 2).bfloat16(), torch.rand(1, 1, 2, 4).half(), [target([0], [LEFT])])
    assert loss.total.dtype == torch.float32


def test_tokens_belong_to_the_smallest_box_around_them():
    centres = torch.tensor([[0.1, 0.5], [0.3, 0.5], [0.5, 0.5], [0.9, 0.5]])
    padded = PaddedTargets.from_targets(
        [target([0, 1], [[0.3, 0.5, 0.6, 1.0], [0.3, 0.5, 0.1, 0.1]]), target([], [])], centres
    )
    owner, owned = owners(centres, padded)
    assert owned.tolist() == [[True, True, True, False], [False] * 4]
    assert owner[0, :3].tolist() == [0, 1, 0]


def test_object_thinner_than_a_cell_belongs_to_the_nearest_tokens():
    # Two rows of cells at y 0.25 and 0.75; a line at y 0.4 over the first two columns.
    centres = torch.tensor([[x, y] for y in (0.25, 0.75) for x in (0.125, 0.375, 0.625, 0.875)])
    padded = PaddedTargets.from_targets([target([0], [[0.25, 0.4, 0.4, 0.05]])], centres)
    _, owned = owners(centres, padded)
    assert owned[0].tolist() == [True, True] + [False] * 6


def test_dense_loss_worked_by_hand():
    # Three cells in a row; one object covers the left two. The tokens guess LEFT's mirror and the box itself.
    centres = torch.tensor([[1 / 6, 0.5], [1 / 2, 0.5], [5 / 6, 0.5]])
    logits = torch.tensor([[[3.0, 1.0], [1.0, 1.0], [1.0, 3.0]]]).log()
    box = [1 / 3, 0.5, 2 / 3, 1.0]
    boxes = torch.tensor([[box, [1 / 3, 0.25, 2 / 3, 0.5], [0.0, 0.0, 1.0, 1.0]]])
    loss = dense_loss([DenseGuess(logits, boxes, centres, [target([0], [box])])])
    nats = -math.log(3 / 4) - math.log(1 / 2) - BACKGROUND_WEIGHT * math.log(3 / 4)
    assert loss.class_.item() == pytest.approx(nats / (2 + BACKGROUND_WEIGHT), rel=1e-5)
    # Token 0 is right; token 1 has L1 0.25 + 0.5 and half the box, IoU = GIoU = 0.5: the object's mean.
    assert loss.l1.item() == pytest.approx(0.75 / 2, rel=1e-5)
    assert loss.giou.item() == pytest.approx(0.5 / 2, rel=1e-5)


def test_dense_loss_counts_objects_alike():
    # A wide object over three cells is right; a narrow one over one cell has L1 0.5.
    centres = torch.tensor([[x, 0.5] for x in (0.125, 0.375, 0.625, 0.875)])
    wide, narrow = [0.375, 0.5, 0.75, 1.0], [0.875, 0.5, 0.25, 1.0]
    boxes = torch.tensor([[wide, wide, wide, [0.875, 0.5, 0.25, 0.5]]])
    loss = dense_loss([DenseGuess(torch.zeros(1, 4, 2), boxes, centres, [target([0, 0], [wide, narrow])])])
    assert loss.l1.item() == pytest.approx(0.5 / 2, rel=1e-5)


def test_dense_loss_without_ground_truth():
    loss = dense_loss([DenseGuess(torch.zeros(2, 3, 4), torch.rand(2, 3, 4), torch.rand(3, 2), [target([], [])] * 2)])
    assert loss.class_.item() == pytest.approx(math.log(4), rel=1e-5)
    assert loss.l1.item() == loss.giou.item() == 0


def test_dense_loss_gradient():
    torch.manual_seed(2)
    logits = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    boxes = (torch.rand(2, 6, 4, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    centres, targets = torch.rand(6, 2), random_targets(2, 0)
    assert torch.autograd.gradcheck(
        lambda logits, boxes: dense_loss([DenseGuess(logits, boxes, centres, targets)]).total, (logits, boxes)
    )


def test_dense_loss_of_several_sizes_is_one_mean():
    torch.manual_seed(3)
    logits, boxes, centres = torch.randn(3, 6, 4), torch.rand(3, 6, 4), torch.rand(6, 2)
    targets = random_targets(2, 0, 3)
    together = dense_loss([DenseGuess(logits, boxes, centres, targets)])
    apart = dense_loss(
        [DenseGuess(logits[own], boxes[own], centres, targets[own]) for own in (slice(0, 1), slice(1, 3))]
    )
    for term in ("class_", "l1", "giou"):
        torch.testing.assert_close(getattr(apart, term), getattr(together, term))
