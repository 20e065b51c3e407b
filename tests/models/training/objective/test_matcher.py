"""Matchings with a known optimum."""

from itertools import permutations

import pytest
import torch

from models.training.objective.matcher import NotFinite, PaddedTargets, Target, match, matching_cost


def target(labels: list[int], boxes: list[list[float]]) -> Target:
    return Target(torch.tensor(labels, dtype=torch.int64), torch.tensor(boxes).reshape(-1, 4))


def pairs(matched: tuple[torch.Tensor, torch.Tensor]) -> set[tuple[int, int]]:
    return set(zip(matched[0].tolist(), matched[1].tolist(), strict=True))


def test_cost_worked_by_hand():
    # Left and right half of the image side by side: L1 0.5, IoU 0, hull full: GIoU 0. Probability 3/4.
    logits = torch.tensor([[[3.0, 1.0]]]).log()
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]])
    padded = PaddedTargets.from_targets([target([0], [[0.75, 0.5, 0.5, 1.0]])], boxes)
    assert matching_cost(logits, boxes, padded).item() == pytest.approx(5 * 0.5 - 0.75, abs=1e-5)
    # The same box: L1 0, GIoU 1. Probability of class 1 is 1/4.
    padded = PaddedTargets.from_targets([target([1], boxes[0].tolist())], boxes)
    assert matching_cost(logits, boxes, padded).item() == pytest.approx(-0.25 - 2, abs=1e-5)


def test_equals_brute_force_on_random_batches_of_unequal_targets():
    random = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 5, 4, generator=random)
    boxes = torch.rand(4, 5, 4, generator=random)
    targets = [
        Target(torch.randint(3, (n,), generator=random), torch.rand(n, 4, generator=random)) for n in (3, 0, 5, 1)
    ]
    costs = matching_cost(logits, boxes, PaddedTargets.from_targets(targets, boxes))
    for cost, wanted, (query, found) in zip(costs, targets, match(logits, boxes, targets), strict=True):
        n = len(wanted)
        assert query.dtype == found.dtype == torch.int64
        assert query.tolist() == sorted(query.tolist())
        assert sorted(found.tolist()) == list(range(n))
        best = min(cost[list(order), range(n)].sum() for order in permutations(range(5), n))
        torch.testing.assert_close(cost[query, found].sum(), best)


def test_match_of_an_image_ignores_its_batch_mates():
    random = torch.Generator().manual_seed(4)
    logits, boxes = torch.randn(3, 6, 3, generator=random), torch.rand(3, 6, 4, generator=random)
    targets = [Target(torch.randint(2, (n,), generator=random), torch.rand(n, 4, generator=random)) for n in (2, 6, 0)]
    together = match(logits, boxes, targets, repeats=2)
    for image in range(3):
        own = slice(image, image + 1)
        (by_itself,) = match(logits[own], boxes[own], targets[own], repeats=2)
        assert pairs(by_itself) == pairs(together[image])


def test_repeats_match_every_ground_truth_that_many_times():
    near = [[0.2 + 0.01 * step, 0.5, 0.1, 0.1] for step in range(3)]
    far = [[0.8 + 0.01 * step, 0.5, 0.1, 0.1] for step in range(4)]
    boxes = torch.tensor([near + far])
    wanted = target([0, 0], [[0.2, 0.5, 0.1, 0.1], [0.8, 0.5, 0.1, 0.1]])
    (matched,) = match(torch.zeros(1, 7, 2), boxes, [wanted], repeats=3)
    assert pairs(matched) == {(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)}


def test_more_ground_truth_than_queries_uses_every_query_once():
    boxes = torch.rand(1, 4, 4)
    ((query, found),) = match(torch.zeros(1, 4, 2), boxes, [target([0] * 3, [[0.5] * 4] * 3)], repeats=6)
    assert query.tolist() == [0, 1, 2, 3]
    assert set(found.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_names_the_image_whose_cost_is_not_finite(bad):
    logits, boxes = torch.zeros(2, 3, 2), torch.rand(2, 3, 4)
    boxes[1, 2, 0] = bad
    with pytest.raises(NotFinite, match="image 1 is not finite"):
        match(logits, boxes, [target([0], [[0.5] * 4])] * 2)


def test_refuses_another_number_of_targets():
    with pytest.raises(ValueError, match="2 predictions cannot be matched to 1 targets"):
        match(torch.zeros(2, 3, 2), torch.rand(2, 3, 4), [target([], [])])


def test_reduced_precision_is_computed_as_float32():
    logits, boxes = torch.randn(1, 6, 3).bfloat16(), torch.rand(1, 6, 4).bfloat16()
    wanted = target([0, 1], [[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.25, 0.25]])
    reduced = matching_cost(logits, boxes, PaddedTargets.from_targets([wanted], boxes))
    full = matching_cost(logits.float(), boxes.float(), PaddedTargets.from_targets([wanted], boxes.float()))
    torch.testing.assert_close(reduced, full)
