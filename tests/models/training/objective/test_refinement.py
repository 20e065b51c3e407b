"""What the box refinement learns from: losses worked by hand, what is frozen, and that it does learn."""

import math
from dataclasses import replace

import pytest
import torch

from models.attention.exact import ExactAttention
from models.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from models.config import AttentionConfig, BoxRefinementConfig
from models.detr.box_refinement import Refined, bin_centres
from models.detr.detr import Detr
from models.images import ImageBatch
from models.training.objective.matcher import Target
from models.training.objective.refinement import RefinementTraining, rough_attentions, side_loss

REFINEMENT = BoxRefinementConfig(fine_channels=4, coarse_channels=4, bins=8, hidden_dim=16, least_score=0.0)
BOX = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
REACH = torch.tensor([[8.0, 4.0]])


@pytest.fixture
def detr(tiny_detr):
    """Refining, with the tiny model's weights."""
    torch.manual_seed(0)
    made = Detr(replace(tiny_detr.config, box_refinement=REFINEMENT)).eval()
    made.load_state_dict(tiny_detr.state_dict(), strict=False)
    return made


def images_and_targets(detr, sizes=((64, 96), (80, 64), (64, 96)), shift=3.0):
    """White rectangles where the model's own boxes are, moved by some pixels; the last image has none."""
    images, targets = [], []
    for place, (height, width) in enumerate(sizes):
        blank = torch.zeros(3, height, width)
        with torch.inference_mode():
            boxes = detr(ImageBatch.from_images([blank]), ExactAttention()).boxes_cxcywh[0]
        pixels = (cxcywh_to_xyxy(boxes) * torch.tensor((width, height) * 2)).clamp(min=0)[:2] + shift
        pixels = torch.minimum(pixels, torch.tensor((width, height) * 2))
        for x0, y0, x1, y1 in pixels.round().int().tolist():
            blank[:, y0:y1, x0:x1] += 1
        count = 0 if place == len(sizes) - 1 else len(pixels)
        relative = xyxy_to_cxcywh(pixels / torch.tensor((width, height) * 2))[:count]
        images.append(blank)
        targets.append(Target(torch.zeros(count, dtype=torch.int64), relative))
    return ImageBatch.from_images(images), targets


def stage(boxes, logits=None):
    return Refined(boxes, torch.zeros(len(boxes), 2, 2, 8) if logits is None else logits, REACH)


def test_a_side_that_was_right_costs_its_doubt_alone():
    loss = side_loss(stage(BOX), BOX, BOX)
    torch.testing.assert_close(loss, torch.tensor([0.25 * math.log(8)]))


def test_the_places_on_either_side_of_the_wanted_one_are_taught():
    """xmin should go 2 pixels inwards, a quarter of its reach: place 4.5 of 8, between two; ymax 3 outwards: 0.5."""
    wanted = BOX + torch.tensor([[2.0, 0.0, 0.0, 3.0]])
    assert bin_centres(8)[4:6].tolist() == [0.125, 0.375]
    logits = torch.full((1, 2, 2, 8), -30.0)
    logits[0, 0, 0, 4:6] = 0.0  # xmin
    logits[0, 0, 1, 3:5] = 0.0  # ymin stays: 3.5
    logits[0, 1, 0, 3:5] = 0.0  # xmax stays
    logits[0, 1, 1, 0:2] = 0.0  # ymax: outwards is towards the first place
    right = side_loss(stage(wanted, logits), BOX, wanted)
    torch.testing.assert_close(right, torch.tensor([0.25 * math.log(2)]))
    assert side_loss(stage(wanted, logits.flip(-1)), BOX, wanted) > 0.25 * 10


def test_beyond_reach_the_outermost_place_is_taught():
    wanted = BOX + torch.tensor([[0.0, 0.0, -30.0, 0.0]])
    logits = torch.zeros(1, 2, 2, 8)
    logits[0, 1, 0] = torch.tensor([*[-30.0] * 7, 0.0])  # xmax, as far inwards as it goes
    loss = side_loss(stage(wanted, logits), BOX, wanted)
    torch.testing.assert_close(loss, torch.tensor([0.25 * (3 * math.log(8)) / 4]))


def test_overlap_and_distance_by_hand():
    """Half of the wanted box: IoU and GIoU 1/2; one of four sides is 20 pixels off, 2.5 times its reach: 2 at most."""
    half = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    loss = side_loss(stage(half), BOX, BOX)
    torch.testing.assert_close(loss, torch.tensor([2 * 0.5 + 0.25 * math.log(8) + 0.5 * 2 / 4]))


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    box, reach = BOX.double(), REACH.double()
    wanted = box + torch.tensor([[2.0, -1.0, 3.0, 1.5]], dtype=torch.float64)

    def loss(logits):
        inwards = (logits.softmax(-1) * bin_centres(8)).sum(-1) * reach[:, None]
        moved = torch.cat((box[:, :2] + inwards[:, 0], box[:, 2:] - inwards[:, 1]), -1)
        return side_loss(Refined(moved, logits, reach), box, wanted).sum()

    assert torch.autograd.gradcheck(loss, (logits,))


def test_the_refinement_alone_learns(detr):
    training = RefinementTraining(detr)
    learning = {name for name, parameter in training.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in training.named_parameters() if name.startswith("detr.box_refinement.")}
    for found in detr.box_refinement.stages:
        torch.nn.init.normal_(found.place.weight)  # zeros let no gradient through to what comes before
    before = {name: value.clone() for name, value in detr.state_dict().items()}
    batch, targets = images_and_targets(detr)
    optimizer = torch.optim.SGD([parameter for parameter in training.parameters() if parameter.requires_grad], lr=0.1)
    training(batch, targets).total.backward()
    learnt = {name for name in before if name.startswith("box_refinement.") and not name.endswith("place.bias")}
    assert all(detr.get_parameter(name).grad.abs().sum() > 0 for name in learnt)  # softmax sees no common bias
    optimizer.step()
    changed = {name for name, value in detr.state_dict().items() if not torch.equal(value, before[name])}
    assert learnt <= changed <= learnt | {f"box_refinement.stages.{stage}.place.bias" for stage in (0, 1)}


@pytest.mark.slow
def test_sides_are_found(detr):
    batch, targets = images_and_targets(detr)
    training = RefinementTraining(detr)
    training.rough = []  # so that every step is of the same boxes, but for the noise
    optimizer = torch.optim.AdamW(detr.box_refinement.parameters(), lr=3e-3)
    for _ in range(120):
        losses = training(batch, targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    given, first, last = losses.ious
    assert given < 0.9
    assert min(first, last) > given + 0.05


def test_names_of_the_curves(detr):
    scalars = RefinementTraining(detr)(*images_and_targets(detr)).scalars()
    assert list(scalars) == ["total", "iou/given", "iou/stage 1", "iou/stage 2"]
    torch.testing.assert_close(scalars["iou/given"], scalars["iou/stage 2"])  # a new one moves nothing
    assert 0.3 < scalars["iou/given"] < 1


@pytest.mark.parametrize("least_score", [0.0, 1.0])
def test_nothing_to_refine_is_no_trouble(detr, least_score):
    """No objects at all, or no query that hopes for one."""
    detr.box_refinement.least_score = least_score
    batch, targets = images_and_targets(detr)
    nothing = [Target(target.labels[:0], target.boxes_cxcywh[:0]) for target in targets]
    losses = RefinementTraining(detr)(batch, targets if least_score else nothing)
    assert losses.total == 0
    losses.total.backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in detr.box_refinement.parameters())


def test_attention_of_a_step_follows_the_seed_and_is_exact_half_of_the_time(detr):
    training = RefinementTraining(detr)
    torch.manual_seed(5)
    drawn = [training.attention() for _ in range(200)]
    torch.manual_seed(5)
    assert [training.attention() for _ in range(200)] == drawn
    assert 70 < drawn.count(AttentionConfig.exact()) < 130
    assert set(drawn) == {AttentionConfig.exact(), *rough_attentions(detr.config)}


def test_rough_attention_is_the_models_own_and_rougher(tiny_config):
    config = replace(tiny_config, act_L=16, act_r=1.5, tangent_C=8)
    expected = [AttentionConfig.act(16, 1.5), AttentionConfig.act(16, 3.0), AttentionConfig.tangent(8)]
    assert rough_attentions(config) == expected


def test_a_plain_model_has_nothing_to_refine_with(tiny_detr):
    with pytest.raises(ValueError, match="tiny has no box refinement"):
        RefinementTraining(tiny_detr)
