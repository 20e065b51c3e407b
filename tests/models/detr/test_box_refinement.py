"""Sides of boxes: features read across them, movement, and independence of other images."""

from dataclasses import replace

import pytest
import torch

from models.attention.exact import ExactAttention
from models.config import RESNET50, BackboneConfig, BoxRefinementConfig
from models.detr import detr
from models.detr.backbone import Backbone
from models.detr.box_refinement import BoxRefinement, Pyramid, RefinementStage, bin_centres, map_channels
from models.detr.detr import Detr
from models.images import ImageBatch

CONFIG = BoxRefinementConfig(fine_channels=2, coarse_channels=2, bins=8, bins_along=2, hidden_dim=8)
HEIGHT, WIDTH = 64, 96
TENTH_OF_A_PIXEL = 1e-3
"""Relative to the image. Sides move by pixels; rounding, which differs with a batch's shape, by far less."""


def ramps(stride, images=1):
    """Two channels [images, 2, h, w]: the x and the y, in pixels, of every cell's middle."""
    y, x = torch.meshgrid(torch.arange(HEIGHT // stride), torch.arange(WIDTH // stride), indexing="ij")
    return (torch.stack((x, y)).to(torch.get_default_dtype()) + 0.5).mul(stride).repeat(images, 1, 1, 1)


def a_pyramid(images=1):
    return Pyramid(ramps(2, images), ramps(4, images), HEIGHT, WIDTH)


@pytest.fixture
def float64():
    """For identities that rounding would blur."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def refining_config(tiny_config):
    return replace(tiny_config, box_refinement=CONFIG)


def moving_sides(config):
    """A refinement whose weights move sides by pixels."""
    torch.manual_seed(0)
    made = BoxRefinement(config).eval()
    for stage in made.stages:
        torch.nn.init.normal_(stage.place.weight, std=3.0)
    return made


@pytest.fixture
def refinement(refining_config, float64):
    return moving_sides(refining_config)


@pytest.fixture
def refining_detr(refining_config):
    torch.manual_seed(1)
    detr = Detr(refining_config).eval()
    detr.box_refinement = moving_sides(refining_config)
    return detr


@pytest.mark.parametrize("config", [RESNET50, BackboneConfig("basic", (1, 1, 1), width=8)])
def test_channels_are_those_of_the_backbones_maps(config):
    with torch.device("meta"):
        maps = Backbone(config)(torch.zeros(1, 3, 64, 64))
    assert map_channels(config) == tuple(feature.shape[1] for feature in maps)
    assert [64 // feature.shape[-1] for feature in maps[:3]] == [2, 4, 8]


@pytest.mark.usefixtures("float64")
def test_profiles_run_from_outside_to_inside():
    """On maps that hold coordinates: across the four sides of one box, hand-worked."""
    stage = RefinementStage(CONFIG, 4, 0.25, 4.0)
    box, reach = torch.tensor([[30.0, 20.0, 54.0, 40.0]]), torch.tensor([[10.0, 9.0]])
    (profiles,) = stage.profiles(box, reach, torch.zeros(1, dtype=torch.int64), a_pyramid())
    middles = (torch.arange(8) + 0.5) / 4 - 1
    assert torch.equal(bin_centres(8), middles)
    expected = {
        (0, 0): (30 + 10 * middles, torch.full((8,), 30.0)),  # xmin: x rises inwards, y is the box's middle
        (0, 1): (torch.full((8,), 42.0), 20 + 9 * middles),
        (1, 0): (54 - 10 * middles, torch.full((8,), 30.0)),
        (1, 1): (torch.full((8,), 42.0), 40 - 9 * middles),
    }
    for side, (x, y) in expected.items():
        mean = profiles[side][:4]  # of fine x, fine y, coarse x, coarse y; then the maxima
        torch.testing.assert_close(mean, torch.stack((x, y, x, y)))
    assert (profiles[:, :, 4:] >= profiles[:, :, :4]).all()
    along = profiles[0, 0, 5] - profiles[0, 0, 1]  # fine y along xmin: two bins of 10 pixels, middles 5 either way
    torch.testing.assert_close(along, torch.full((8,), 5.0))


@pytest.mark.usefixtures("float64")
def test_sides_move_to_the_mean_of_their_positions():
    stage = RefinementStage(CONFIG, 4, 0.25, 4.0)
    boxes = torch.tensor([[30.0, 20.0, 54.0, 40.0]])
    queries = torch.zeros(1, 4)
    still = stage(queries, boxes, torch.zeros(1, dtype=torch.int64), a_pyramid())
    torch.testing.assert_close(still.boxes_xyxy, boxes)
    torch.testing.assert_close(still.reach, torch.tensor([[10.0, 9.0]]))
    torch.manual_seed(0)
    torch.nn.init.normal_(stage.place.weight)
    moved = stage(queries, boxes, torch.zeros(1, dtype=torch.int64), a_pyramid())
    inwards = (moved.logits[0].softmax(-1) * bin_centres(8)).sum(-1)  # [low or high, x or y]
    x, y = (inwards * moved.reach[0]).unbind(-1)
    by_hand = torch.stack((30 + x[0], 20 + y[0], 54 - x[1], 40 - y[1]))
    torch.testing.assert_close(moved.boxes_xyxy[0], by_hand)
    assert (moved.boxes_xyxy - boxes).abs().max() > 0.1


def test_a_new_refinement_changes_nothing(refining_config, tiny_detr):
    plain = tiny_detr
    refining = Detr(refining_config).eval()
    refining.load_state_dict(plain.state_dict(), strict=False)
    torch.manual_seed(3)
    images = ImageBatch.from_images([torch.randn(3, 64, 96), torch.randn(3, 80, 64)])
    with torch.inference_mode():
        expected, got = plain(images, ExactAttention()), refining(images, ExactAttention())
    assert got.refined == tuple((1 - got.logits.softmax(-1)[..., -1] >= CONFIG.least_score).sum(1).tolist())
    assert sum(got.refined) > 0
    assert expected.refined == (0, 0)
    assert torch.equal(got.logits, expected.logits)
    inside = [row.clamp(0, 1) for row in corners(expected.boxes_cxcywh)]  # a refined box ends at the image's edge
    kept = [row.clamp(0, 1) for row in corners(got.boxes_cxcywh)]
    torch.testing.assert_close(kept, inside, rtol=0, atol=1e-5)


def corners(boxes_cxcywh):
    centre, size = boxes_cxcywh.split(2, -1)
    return centre - size / 2, centre + size / 2


def test_boxes_stay_inside_and_upright(refinement):
    for stage in refinement.stages:
        stage.pixels = 40.0
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [90.0, 60.0, 96.0, 64.0], [40.0, 30.0, 40.0, 30.0]])
    pyramid = Pyramid(50 * torch.randn(1, 2, 32, 48), 50 * torch.randn(1, 2, 16, 24), HEIGHT, WIDTH)
    for stage in refinement(torch.randn(3, 32), boxes, torch.zeros(3, dtype=torch.int64), pyramid):
        low, high = stage.boxes_xyxy.split(2, -1)
        assert (low >= 0).all()
        assert (low <= high).all()
        assert (high <= torch.tensor((WIDTH, HEIGHT))).all()


def test_stages_start_where_the_one_before_ended_and_learn_apart(refinement):
    boxes = torch.tensor([[30.0, 20.0, 54.0, 40.0]])
    queries, images = torch.randn(1, 32), torch.zeros(1, dtype=torch.int64)
    first, second = refinement(queries, boxes, images, a_pyramid())
    torch.testing.assert_close(first.reach, torch.tensor([[0.25 * 24 + 4, 0.25 * 20 + 4]]))
    sides = first.boxes_xyxy[:, 2:] - first.boxes_xyxy[:, :2]
    torch.testing.assert_close(second.reach, 0.1 * sides + 2)
    second.boxes_xyxy.sum().backward()
    assert refinement.stages[0].place.weight.grad is None
    assert refinement.stages[1].place.weight.grad.abs().sum() > 0


def test_a_box_is_read_in_its_own_image(refinement):
    torch.manual_seed(2)
    fine, coarse = torch.randn(3, 2, 32, 48), torch.randn(3, 2, 16, 24)
    boxes = torch.tensor([[10.0, 8.0, 50.0, 30.0]]).repeat(3, 1)
    queries = torch.randn(1, 32).repeat(3, 1)
    order = torch.tensor([2, 0, 1])
    together = refinement(queries, boxes, order, Pyramid(fine, coarse, HEIGHT, WIDTH))[-1].boxes_xyxy
    for row, image in enumerate(order.tolist()):
        own = Pyramid(fine[image : image + 1], coarse[image : image + 1], HEIGHT, WIDTH)
        single = refinement(queries[:1], boxes[:1], torch.zeros(1, dtype=torch.int64), own)[-1].boxes_xyxy
        torch.testing.assert_close(together[row : row + 1], single)
    assert not torch.allclose(together[0], together[1])


def test_no_boxes_are_refined_to_no_boxes(refinement):
    none = refinement(torch.zeros(0, 32), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), a_pyramid())
    assert [stage.boxes_xyxy.shape for stage in none] == [(0, 4), (0, 4)]


def test_images_of_a_batch_are_refined_independently(refining_detr):
    torch.manual_seed(3)
    images = [torch.randn(3, *size) for size in ((64, 96), (80, 64), (64, 96), (33, 70), (80, 64))]
    with torch.inference_mode():
        together = refining_detr(ImageBatch.from_images(images), ExactAttention())
        for i, image in enumerate(images):
            single = refining_detr(ImageBatch.from_images([image]), ExactAttention())
            torch.testing.assert_close(together.boxes_cxcywh[i], single.boxes_cxcywh[0], rtol=0, atol=TENTH_OF_A_PIXEL)
            assert together.refined[i] == single.refined[0]


def widest_gap(scores):
    """A threshold that parts the scores where no rounding takes one across it."""
    ordered = scores.sort().values
    i = ordered.diff().argmax()
    return float((ordered[i] + ordered[i + 1]) / 2)


def test_improbable_queries_stay_as_they_are(refining_detr):
    torch.manual_seed(3)
    images = ImageBatch.from_images([torch.randn(3, 64, 96)])
    refinement, refining_detr.box_refinement = refining_detr.box_refinement, None
    with torch.inference_mode():
        plain = refining_detr(images, ExactAttention())
        probability = 1 - plain.logits[0].softmax(-1)[:, -1]
        refinement.least_score = widest_gap(probability)
        refining_detr.box_refinement = refinement
        refined = refining_detr(images, ExactAttention())
    moved = (refined.boxes_cxcywh[0] != plain.boxes_cxcywh[0]).any(-1)
    assert torch.equal(moved, probability >= refinement.least_score)
    assert 0 < refined.refined[0] == int(moved.sum()) < len(moved)


def test_only_boxes_that_may_reach_their_images_threshold_are_refined(refining_detr):
    torch.manual_seed(3)
    batch = ImageBatch.from_images([torch.randn(3, *size) for size in ((64, 96), (80, 64), (64, 96))])
    with torch.inference_mode():
        every = refining_detr(batch, ExactAttention())
        probability = 1 - every.logits.softmax(-1)[..., -1]
        thresholds = [0.0, widest_gap(probability[1]), 1.0]
        some = refining_detr(batch, ExactAttention(), thresholds)
    assert torch.equal(some.logits, every.logits)
    refinable = probability >= torch.tensor(thresholds)[:, None]
    assert some.refined == tuple(refinable.sum(1).tolist())
    assert 0 < some.refined[1] < some.refined[0] == len(probability[0])
    assert some.refined[2] == 0
    torch.testing.assert_close(
        some.boxes_cxcywh[refinable], every.boxes_cxcywh[refinable], rtol=0, atol=TENTH_OF_A_PIXEL
    )
    assert (some.boxes_cxcywh[~refinable] != every.boxes_cxcywh[~refinable]).any(-1).all()


def test_a_gpu_refines_every_box_and_keeps_the_same_ones(refining_detr, monkeypatch):
    torch.manual_seed(3)
    batch = ImageBatch.from_images([torch.randn(3, *size) for size in ((64, 96), (80, 64), (64, 96))])
    with torch.inference_mode():
        probability = 1 - refining_detr(batch, ExactAttention()).logits.softmax(-1)[..., -1]
        thresholds = [0.0, widest_gap(probability[1]), 1.0]
        expected = refining_detr(batch, ExactAttention(), thresholds)
        monkeypatch.setattr(detr, "chosen_boxes", detr.every_box)
        got = refining_detr(batch, ExactAttention(), thresholds)
    assert got.refined == expected.refined
    assert len(set(got.refined)) == 3
    assert torch.equal(got.boxes_cxcywh[~got.refinable], expected.boxes_cxcywh[~got.refinable])
    torch.testing.assert_close(got.boxes_cxcywh, expected.boxes_cxcywh, rtol=0, atol=TENTH_OF_A_PIXEL)


@pytest.mark.half
def test_sides_are_computed_in_float32_in_any_model_dtype(refining_detr):
    torch.manual_seed(3)
    images = [torch.randn(3, 64, 96)]
    with torch.inference_mode():
        full = refining_detr(ImageBatch.from_images(images), ExactAttention())
        half = refining_detr.to(torch.bfloat16)(
            ImageBatch.from_images([image.to(torch.bfloat16) for image in images]), ExactAttention()
        )
    assert half.boxes_cxcywh.dtype == torch.float32
    assert (half.boxes_cxcywh != half.boxes_cxcywh.bfloat16()).any(-1).all()
    torch.testing.assert_close(half.boxes_cxcywh, full.boxes_cxcywh, rtol=0, atol=0.1)
