"""MTKD: what it costs, where its gradient goes, and its limits."""

from dataclasses import replace

import pytest
import torch

from models.attention_config import AttentionConfig
from models.detr.detr import Detr
from models.images import ImageBatch
from models.training.objective.distillation import Distillation, box_distance, overlap_distance
from models.training.objective.matcher import Target
from models.training.objective.training_detr import TrainingDetr

COARSE = AttentionConfig.act(L=8, r=2.0)
FINE = AttentionConfig.act(L=32, r=1e-4)
TANGENT = AttentionConfig.tangent(4)
TARGETS = [
    Target(torch.tensor([0, 3]), torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.7, 0.6, 0.3, 0.2]])),
    Target(torch.tensor([1]), torch.tensor([[0.5, 0.5, 0.8, 0.3]])),
]


def batch() -> ImageBatch:
    return ImageBatch.from_images(list(torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))))


def overlap_in_full(boxes: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    return overlap_distance(boxes, exact, torch.ones(boxes.shape[:3]))


def in_training(detr: Detr, distillation: Distillation | None) -> TrainingDetr:
    return TrainingDetr(detr, 0, 1, dense=False, distillation=distillation)


def test_one_backbone_pass_serves_both_encoders(tiny_detr):
    calls = []
    tiny_detr.backbone.register_forward_hook(lambda *_: calls.append("backbone"))
    tiny_detr.transformer.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    in_training(tiny_detr, Distillation(COARSE))(batch(), TARGETS)
    assert calls == ["backbone", "encoder", "encoder"]


@pytest.mark.parametrize("attention", [COARSE, TANGENT, AttentionConfig.tangent(8, expansion_points=2)], ids=str)
def test_the_gradient_reaches_every_encoder_weight_through_clusters(tiny_detr, attention):
    losses = in_training(tiny_detr, Distillation(attention))(batch(), TARGETS)
    assert losses.distillation is not None
    losses.distillation.backward()
    encoder = dict(tiny_detr.transformer.encoder.named_parameters())
    assert [name for name, value in encoder.items() if value.grad is None or not value.grad.any()] == []
    # The class head is not distilled.
    assert all(value.grad is None for value in tiny_detr.class_embed.parameters())


def test_exact_boxes_are_the_teacher_and_get_no_gradient():
    boxes, exact = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    box_distance(boxes, exact).backward()
    assert boxes.grad is not None
    torch.testing.assert_close(boxes.grad, 2 * (boxes - exact).detach() / (2 * 3 * 4))
    assert exact.grad is None


def test_nothing_is_left_to_distil_where_the_clusters_are_single_queries(tiny_detr):
    images = ImageBatch(tuple(stack.double() for stack in batch().stacks), batch().order)
    fine, coarse = (
        in_training(tiny_detr.double(), Distillation(attention))(images, TARGETS).distillation
        for attention in (FINE, COARSE)
    )
    assert fine < 1e-18
    assert coarse > 1e-8


def test_a_step_brings_tangent_attention_nearer_to_exact(tiny_detr):
    model = in_training(tiny_detr, Distillation(TANGENT))
    optimizer = torch.optim.SGD(tiny_detr.transformer.encoder.parameters(), lr=1e-2)
    before = model(batch(), TARGETS).distillation
    before.backward()
    optimizer.step()
    with torch.no_grad():
        assert 0 < model(batch(), TARGETS).distillation < 0.97 * before.item()


def test_weight_zero_is_plain_training(tiny_detr):
    plain = in_training(tiny_detr, None)(batch(), TARGETS)
    unweighted = in_training(tiny_detr, Distillation(COARSE, weight=0.0))(batch(), TARGETS)
    assert unweighted.distillation is None
    assert unweighted.total.item() == plain.total.item()
    gradients = [
        torch.autograd.grad(losses.total, list(tiny_detr.transformer.parameters())) for losses in (plain, unweighted)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_total_weighs_the_distance(tiny_detr):
    losses = in_training(tiny_detr, Distillation(COARSE, weight=30.0))(batch(), TARGETS)
    assert losses.distillation is not None
    expected = losses.one_to_one.total.item() + 30 * losses.distillation.item()
    assert losses.total.item() == pytest.approx(expected, rel=1e-5)
    assert losses.scalars()["distillation"] is losses.distillation


def test_distance_worked_by_hand():
    # One layer, one image, two queries: 0.3² + 0.4² for the first, nothing for the second; the mean over both.
    boxes = torch.tensor([[[[0.5, 0.5, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4]]]])
    exact = torch.tensor([[[[0.2, 0.5, 0.6, 0.2], [0.1, 0.2, 0.3, 0.4]]]])
    assert box_distance(boxes, exact).item() == pytest.approx(0.25 / 2, rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_box_distance_does_not_depend_on_the_number_of_boxes(axis):
    boxes, exact = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    twice = box_distance(torch.cat((boxes, boxes), axis), torch.cat((exact, exact), axis))
    torch.testing.assert_close(twice, box_distance(boxes, exact))


def test_only_the_last_layer_may_be_distilled():
    boxes, exact = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    logits = torch.randn(3, 2, 4, 6)
    last = Distillation(COARSE, layers="last").loss(boxes, exact, logits)
    torch.testing.assert_close(last, box_distance(boxes[2:], exact[2:]))
    assert Distillation(COARSE).loss(boxes, exact, logits) != last
    overlap = Distillation(COARSE, layers="last", distance="overlap").loss(boxes, exact, logits)
    sure = 1 - logits[2:].softmax(-1)[..., -1]
    torch.testing.assert_close(overlap, overlap_distance(boxes[2:], exact[2:], sure))


def test_overlap_worked_by_hand():
    # The same box for a sure query; for one that is half sure a box moved by its width: L1 0.2, GIoU 0 - 0.
    exact = torch.tensor([[[[0.2, 0.2, 0.2, 0.2], [0.2, 0.5, 0.2, 0.2]]]], requires_grad=True)
    boxes = torch.tensor([[[[0.2, 0.2, 0.2, 0.2], [0.4, 0.5, 0.2, 0.2]]]], requires_grad=True)
    confidence = torch.tensor([[[1.0, 0.5]]], requires_grad=True)
    distance = overlap_distance(boxes, exact, confidence)
    assert distance.item() == pytest.approx(0.5 * (5 * 0.2 + 2 * 1) / 1.5, abs=1e-4)
    distance.backward()
    assert boxes.grad is not None
    assert exact.grad is None
    assert confidence.grad is None


def test_overlap_sees_a_thin_box_that_squares_do_not():
    exact = torch.tensor([[[[0.5, 0.5, 0.4, 0.01], [0.5, 0.5, 0.4, 0.4]]]])
    moved = exact + torch.tensor([0.0, 0.005, 0.0, 0.0])
    thin, thick = (
        [distance(moved[:, :, [query]], exact[:, :, [query]]).item() for distance in (box_distance, overlap_in_full)]
        for query in (0, 1)
    )
    assert thin[0] == pytest.approx(thick[0])
    assert thin[1] > 10 * thick[1]


def test_empty_pages_have_no_distance():
    boxes, exact = torch.rand(1, 1, 3, 4), torch.rand(1, 1, 3, 4)
    assert overlap_distance(boxes, exact, torch.zeros(1, 1, 3)).item() == 0


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight of distillation"):
        replace(Distillation(COARSE), weight=-1.0)
