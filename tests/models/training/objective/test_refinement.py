"""Training of the box refinement: losses worked by hand, boxes and their objects, what learns, and that it does."""

import math
from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from models.attention.exact import ExactAttention
from models.attention_config import AttentionConfig
from models.boxes import cxcywh_to_xyxy, scale_to_pixels
from models.config import BoxRefinementConfig
from models.detr.box_refinement import Refined, bin_centres
from models.detr.detr import Detr
from models.images import ImageBatch
from models.precision import at_least_float32
from models.resizing import Resizing
from models.training.objective.matcher import Target
from models.training.objective.refinement import NOISE, RefinementTraining, approximate_attentions, side_loss
from models.training.optimizers import optimizers
from models.training.plan.recipe import for_refinement

BOX = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
REACH = torch.tensor([[8.0, 4.0]])
CONFIG = BoxRefinementConfig(fine_channels=4, coarse_channels=4, bins=8, bins_along=2, hidden_dim=8)
GIVEN = (0.5, 0.5, 0.5, 0.5)
"""The box that every query of `one_box` gives, whatever it sees."""


def target(*boxes):
    return Target(torch.zeros(len(boxes), dtype=torch.int64), torch.tensor(boxes).reshape(-1, 4))


def give_one_box(detr, box_cxcywh=GIVEN, no_object=0.0):
    """Let every query say the same: this box, and this logit of no-object against 0 of every class."""
    with torch.no_grad():
        for layer in (detr.bbox_embed.layers[-1], detr.class_embed):
            layer.weight.zero_()
            layer.bias.zero_()
        detr.bbox_embed.layers[-1].bias.copy_(torch.tensor(box_cxcywh).logit())
        detr.class_embed.bias[-1] = no_object


def images_of(*sizes):
    generator = torch.Generator().manual_seed(1)
    return ImageBatch.from_images([torch.randn(3, *size, generator=generator) for size in sizes])


def pixels(box_cxcywh, height, width):
    return scale_to_pixels(cxcywh_to_xyxy(torch.tensor(box_cxcywh)), height, width)


@pytest.fixture
def detr(tiny_detr):
    """The tiny model with a refinement that moves nothing yet."""
    torch.manual_seed(0)
    made = Detr(replace(tiny_detr.config, box_refinement=CONFIG))
    made.load_state_dict(tiny_detr.state_dict(), strict=False)
    return made


@pytest.fixture
def one_box(detr):
    give_one_box(detr)
    return RefinementTraining(detr)


def samples(model, batch, targets):
    """The samples of a batch, as exact attention gives them, by pyramid."""
    with torch.no_grad():
        features = model.detr.features(batch)
        encoded = model.detr.transformer.encoder(features.tokens, ExactAttention())
        decoded = model.detr.transformer.decoder(model.detr.query_embed.weight, encoded.tokens)[-1]
        return dict(model.samples(features, at_least_float32(decoded), targets))


def stage(boxes, logits=None):
    return Refined(boxes, torch.zeros(len(boxes), 2, 2, 8) if logits is None else logits, REACH)


def test_a_correct_side_costs_only_its_entropy():
    loss = side_loss(stage(BOX), BOX, BOX)
    torch.testing.assert_close(loss, torch.tensor([0.25 * math.log(8)]))


def test_the_bins_on_either_side_of_the_wanted_edge_are_taught():
    """xmin should go 2 pixels inwards, a quarter of its reach: bin 4.5 of 8, between two; ymax 3 outwards: 0.5."""
    wanted = BOX + torch.tensor([[2.0, 0.0, 0.0, 3.0]])
    assert bin_centres(8)[4:6].tolist() == [0.125, 0.375]
    logits = torch.full((1, 2, 2, 8), -30.0)
    logits[0, 0, 0, 4:6] = 0.0  # xmin
    logits[0, 0, 1, 3:5] = 0.0  # ymin stays: 3.5
    logits[0, 1, 0, 3:5] = 0.0  # xmax stays
    logits[0, 1, 1, 0:2] = 0.0  # ymax: outwards is towards the first bin
    right = side_loss(stage(wanted, logits), BOX, wanted)
    torch.testing.assert_close(right, torch.tensor([0.25 * math.log(2)]))
    assert side_loss(stage(wanted, logits.flip(-1)), BOX, wanted) > 0.25 * 10


def test_beyond_reach_the_outermost_bin_is_taught():
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


def test_boxes_on_a_canvas_learn_objects_in_the_image(detr):
    """What a query says of the canvas is where its object lies in the image."""
    config = replace(detr.config, resizing=Resizing("sides", None, (128, 128)))
    on_canvas = Detr(config)
    on_canvas.load_state_dict(detr.state_dict())
    give_one_box(on_canvas, (0.25, 0.25, 0.25, 0.25))
    found = samples(RefinementTraining(on_canvas), images_of((64, 64)), [target(GIVEN)])
    wanted = pixels(GIVEN, 64, 64)
    assert len(found[0].wanted_xyxy) == config.queries
    torch.testing.assert_close(found[0].wanted_xyxy, wanted.expand_as(found[0].wanted_xyxy))
    assert box_iou(found[0].boxes_xyxy, wanted[None]).min() > 0.5


def test_every_box_wants_the_object_of_its_own_image(one_box):
    """Images of two sizes by turns: the batch stacks them in another order than they came in."""
    sizes = [(64, 96), (80, 64), (64, 96), (80, 64), (64, 96)]
    objects = [(0.5 + shift, 0.5, 0.5, 0.5) for shift in (0.01, -0.02, 0.03, -0.04)]
    targets = [*(target(box) for box in objects), target()]  # the last image has no object
    found = samples(one_box, images_of(*sizes), targets)
    assert sorted(found) == [0, 1]
    for pyramid, (came, height, width) in enumerate([((0, 2), 64, 96), ((1, 3), 80, 64)]):
        sample = found[pyramid]
        assert sample.images.tolist() == [0] * 9 + [1] * 9
        wanted = torch.stack([pixels(objects[image], height, width) for image in came])
        torch.testing.assert_close(sample.wanted_xyxy, wanted.repeat_interleave(9, 0))
        off = (sample.boxes_xyxy - pixels(GIVEN, height, width)) / torch.tensor((width / 2, height / 2) * 2)
        assert 0 < off.abs().max() < 5 * NOISE
        torch.testing.assert_close(sample.weight, torch.full((18,), math.sqrt(5 / 6)))  # five classes, no-object


def test_a_box_takes_the_object_that_it_overlaps_most(one_box):
    objects = (0.4, 0.5, 0.5, 0.5), (0.52, 0.5, 0.5, 0.5), (0.5, 0.5, 0.1, 0.1)
    sample = samples(one_box, images_of((64, 96)), [target(*objects)])[0]
    torch.testing.assert_close(sample.wanted_xyxy, pixels(objects[1], 64, 96).expand(9, 4))


@pytest.mark.parametrize(
    ("box", "no_object", "kept"),
    [
        (GIVEN, 0.0, 9),
        ((0.5, 0.5, 0.5, 0.06), 0.0, 0),  # overlaps the given box by an eighth
        (GIVEN, math.log(5 * 0.96 / 0.04), 9),  # an object with probability 4 %
        (GIVEN, math.log(5 * 0.99 / 0.01), 0),  # with 1 %: not refined when serving
    ],
)
def test_boxes_that_are_no_object_or_not_refined_when_serving_do_not_learn(detr, box, no_object, kept):
    give_one_box(detr, no_object=no_object)
    sample = samples(RefinementTraining(detr), images_of((64, 96)), [target(box)])[0]
    assert len(sample.boxes_xyxy) == len(sample.queries) == len(sample.weight) == kept


def drawn(attention, merging):
    return type(merging or getattr(attention, "attention", attention)).__name__


def test_a_step_takes_the_attention_that_was_drawn(one_box):
    attentions = []
    encoder = one_box.detr.transformer.encoder
    encoder.register_forward_pre_hook(lambda _, given: attentions.append(drawn(*given[1:])))
    torch.manual_seed(0)
    for _ in range(16):
        one_box(images_of((64, 48)), [target(GIVEN)])
    assert set(attentions) == {"ExactAttention", "ActAttention", "TangentAttention", "TokenMerging"}


def test_the_loss_is_a_mean_over_boxes(one_box):
    """Twice the images, and images without objects, change it no more than the noise on boxes does."""
    torch.manual_seed(0)
    moved = target((0.55, 0.5, 0.5, 0.5))
    one = [one_box(images_of((64, 96)), [moved]).total.item() for _ in range(20)]
    two = [one_box(images_of(*[(64, 96)] * 3), [moved, moved, target()]).total.item() for _ in range(20)]
    assert sum(two) == pytest.approx(sum(one), rel=0.1)


@pytest.mark.half
def test_wanted_boxes_are_float32_in_mixed_precision(one_box):
    """A page is hundreds of pixels wide: in bfloat16 a side of it is off by a pixel or two."""
    box = (0.503, 0.497, 0.481, 0.513)
    with torch.autocast("cpu", torch.bfloat16):
        sample = samples(one_box, images_of((256, 320)), [target(box)])[0]
    assert sample.boxes_xyxy.dtype == torch.float32
    torch.testing.assert_close(sample.wanted_xyxy, pixels(box, 256, 320).expand(9, 4))


def test_only_the_refinement_learns_and_all_of_it(one_box):
    for stage in one_box.refinement.stages:
        torch.nn.init.normal_(stage.place.weight)  # zeros let no gradient through to what comes before
    before = {name: value.clone() for name, value in one_box.detr.state_dict().items()}
    made = optimizers(one_box, for_refinement("tiny", "pages", 1))
    one_box.train()
    one_box(images_of((64, 96)), [target((0.55, 0.5, 0.6, 0.5))]).total.backward()
    for optimizer in made:
        optimizer.step()
    after = one_box.detr.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    learnt = {name for name in before if name.startswith("box_refinement.")}
    common = {f"box_refinement.stages.{stage}.place.bias" for stage in (0, 1)}  # softmax sees no common bias
    assert learnt - common <= changed <= learnt


def test_curves_have_names(one_box):
    scalars = one_box(images_of((64, 96), (80, 64)), [target((0.55, 0.5, 0.6, 0.5)), target()]).scalars()
    assert list(scalars) == ["total", "iou/given", "iou/stage 1", "iou/stage 2"]
    torch.testing.assert_close(scalars["iou/given"], scalars["iou/stage 2"])  # a new one moves nothing
    assert 0.3 < scalars["iou/given"] < 1


@pytest.mark.parametrize(("least_score", "objects"), [(0.0, ()), (1.0, (GIVEN,))])
def test_a_step_with_no_box_to_refine_changes_nothing(one_box, least_score, objects):
    """No objects at all, or no query of enough probability."""
    one_box.refinement.least_score = least_score
    losses = one_box(images_of((64, 96)), [target(*objects)])
    assert losses.total == 0
    losses.total.backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in one_box.refinement.parameters())


def sheets():
    """Four white images [3, 64, 96] with a black object each, a pixel or some beside the box that is given."""
    images, targets = [], []
    for x0, y0, x1, y1 in [(20, 18, 76, 52), (28, 12, 66, 45), (22, 20, 70, 50), (27, 14, 77, 44)]:
        image = torch.ones(3, 64, 96)
        image[:, y0:y1, x0:x1] = -1
        images.append(image)
        targets.append(target(((x0 + x1) / 192, (y0 + y1) / 128, (x1 - x0) / 96, (y1 - y0) / 64)))
    return ImageBatch.from_images(images), targets


def served_iou(detr, batch, targets):
    """Mean IoU of all boxes that a model answers with the one object of their image."""
    with torch.inference_mode():
        answered = cxcywh_to_xyxy(detr(batch, ExactAttention()).boxes_cxcywh)
    pairs = zip(answered, targets, strict=True)
    return torch.cat([box_iou(boxes, cxcywh_to_xyxy(own.boxes_cxcywh)) for boxes, own in pairs]).mean().item()


def test_served_boxes_come_to_lie_where_the_objects_are(one_box):
    batch, targets = sheets()
    before = served_iou(one_box.detr, batch, targets)
    optimizer = torch.optim.AdamW(one_box.refinement.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        losses = one_box(batch, targets)
        losses.total.backward()
        optimizer.step()
    given, first, last = (iou.item() for iou in losses.ious)
    assert given + 0.1 < min(first, last)
    assert served_iou(one_box.detr, batch, targets) > before + 0.1


def test_half_of_the_seeded_attentions_of_steps_are_exact(detr):
    training = RefinementTraining(detr)
    torch.manual_seed(5)
    drawn = [training.attention() for _ in range(200)]
    torch.manual_seed(5)
    assert [training.attention() for _ in range(200)] == drawn
    assert 70 < drawn.count(AttentionConfig.exact()) < 130
    assert set(drawn) == {AttentionConfig.exact(), *approximate_attentions(detr.config)}


def test_rough_attention_is_the_models_own_and_rougher(tiny_config):
    config = replace(tiny_config, act_L=16, act_r=1.5, tangent_C=8, merge_ratio=0.5)
    act = [AttentionConfig.act(16, 1.5), AttentionConfig.act(16, 3.0)]
    expected = [*act, AttentionConfig.tangent(8), AttentionConfig.merge(0.5)]
    assert approximate_attentions(config) == expected
    in_logits = [AttentionConfig.act(16, 1.5, metric="key"), AttentionConfig.act(16, 3.0, metric="key")]
    assert approximate_attentions(replace(config, act_metric="key"))[:2] == in_logits


def test_a_plain_model_has_nothing_to_refine_with(tiny_detr):
    with pytest.raises(ValueError, match="tiny has no box refinement"):
        RefinementTraining(tiny_detr)
