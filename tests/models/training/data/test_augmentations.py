from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from models.named_models import named_config
from models.preprocess import prepare
from models.training.data.augmentations import Augmentation, StepAugmentations, resize
from models.training.data.labelled_image import LabelledImage
from models.training.plan.curriculum import Curriculum

SMALL = Augmentation(
    shortest_sides=(48, 64, 80), longest_side=133, crop_from=(40, 50, 60), crop_sides=(30, 50), flip=0.5, crop=0.8
)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def varied(augmentation, image, seed, sizes=None):
    """One variant; its size from the seed `sizes`, or from the same as all else."""
    return augmentation(image, generator(seed), generator(seed + 1 if sizes is None else sizes))


@st.composite
def painted(draw) -> LabelledImage:
    """Object k is a full rectangle in channel k: where objects overlap, each can still be told."""
    height, width = draw(st.integers(40, 110)), draw(st.integers(40, 110))
    pixels, boxes = torch.zeros(3, height, width, dtype=torch.uint8), []
    for channel in range(3):
        top, left = draw(st.integers(0, height - 12)), draw(st.integers(0, width - 12))
        bottom, right = draw(st.integers(top + 12, height)), draw(st.integers(left + 12, width))
        pixels[channel, top:bottom, left:right] = 255
        boxes.append((left, top, right, bottom))
    return LabelledImage(pixels, torch.tensor(boxes, dtype=torch.float32), torch.arange(3))


def painted_box(channel):
    """The box of what is brighter than half; None where nothing is."""
    rows, columns = (channel >= 128).nonzero(as_tuple=True)
    if not len(rows):
        return None
    return torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()


@settings(deadline=None, max_examples=60)
@given(painted(), st.integers(0, 2**32 - 2))
def test_a_box_still_encloses_what_was_painted_in_it(image, seed):
    variant = varied(SMALL, image, seed)
    boxes = dict(zip(variant.labels.tolist(), variant.boxes_xyxy, strict=True))
    for label in range(3):
        bounds = painted_box(variant.pixels[label])
        if label not in boxes:
            assert bounds is None
        elif bounds is not None and (boxes[label][2:] - boxes[label][:2] > 4).all():
            # Half a pixel is lost in rounding before a resize that may nearly triple it, and half a pixel after.
            torch.testing.assert_close(boxes[label], bounds, atol=2.0, rtol=0)


@settings(deadline=None, max_examples=50)
@given(painted(), st.integers(0, 2**32 - 2))
def test_boxes_stay_inside_with_an_area_and_images_within_the_sides(image, seed):
    variant = varied(SMALL, image, seed)
    limits = torch.tensor((variant.width, variant.height, variant.width, variant.height))
    assert (variant.boxes_xyxy >= 0).all()
    assert (variant.boxes_xyxy <= limits).all()
    assert (variant.boxes_xyxy[:, 2:] > variant.boxes_xyxy[:, :2]).all()
    assert len(variant.labels) == len(variant.boxes_xyxy)
    assert max(variant.height, variant.width) <= SMALL.longest_side
    assert min(variant.height, variant.width) in SMALL.shortest_sides or max(variant.height, variant.width) >= 130
    target = variant.target()
    assert ((target.boxes_cxcywh > 0) & (target.boxes_cxcywh <= 1)).all()
    assert target.boxes_cxcywh.dtype == torch.float32
    assert target.labels.dtype == torch.int64


@settings(deadline=None, max_examples=30)
@given(painted())
def test_two_flips_change_nothing(image):
    once = image.changed(functional.horizontal_flip)
    twice = once.changed(functional.horizontal_flip)
    assert torch.equal(once.pixels, image.pixels.flip(-1))
    assert torch.equal(twice.pixels, image.pixels)
    assert torch.equal(twice.boxes_xyxy, image.boxes_xyxy)


def test_a_crop_drops_boxes_outside_with_their_labels():
    pixels = torch.arange(3 * 60 * 60).reshape(3, 60, 60).to(torch.uint8)
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 40, 50], [50, 0, 60, 60]])
    image = LabelledImage(pixels, boxes, torch.tensor([4, 5, 6]))
    part = image.changed(lambda x: functional.crop(x, 10, 10, 30, 40))
    assert torch.equal(part.pixels, pixels[:, 10:40, 10:50])
    assert part.labels.tolist() == [5]
    assert part.boxes_xyxy.tolist() == [[0, 0, 30, 30]]


def test_only_the_generators_decide():
    image = LabelledImage(torch.randint(0, 256, (3, 70, 90)).byte(), torch.tensor([[5.0, 5, 60, 60]]), torch.ones(1))
    torch.manual_seed(1)
    first = varied(SMALL, image, 7)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = varied(SMALL, image, 7)
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.boxes_xyxy, again.boxes_xyxy)
    assert torch.equal(state, torch.random.get_rng_state())
    variants = [varied(SMALL, image, seed) for seed in range(20)]
    assert len({variant.pixels.shape for variant in variants}) > 5


def test_flips_and_crops_come_as_often_as_they_should():
    ramp = torch.arange(80).byte().expand(3, 80, 80)
    image = LabelledImage(ramp.clone(), torch.tensor([[0.0, 0, 80, 80]]), torch.zeros(1).long())
    fixed = Augmentation((80,), 200, (80,), (40, 40))
    variants = [varied(fixed, image, seed) for seed in range(200)]
    flipped = sum(int(variant.pixels[0, 0, 0] > variant.pixels[0, 0, -1]) for variant in variants)
    cropped = sum(int(variant.pixels.max()) - int(variant.pixels.min()) < 60 for variant in variants)
    assert 70 < flipped < 130
    assert 70 < cropped < 130
    never = replace(fixed, flip=0.0)
    assert all(v.pixels[0, 0, 0] < v.pixels[0, 0, -1] for v in (varied(never, image, s) for s in range(40)))


def test_a_published_model_gets_the_published_sizes():
    published = Augmentation.for_model(named_config("detr-r50"))
    scales = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert published == Augmentation(scales, 1333, (400, 500, 600), (384, 600), 0.5, 0.5)
    pages = Augmentation.for_model(named_config("pages-small"), flip=False)
    assert (pages.shortest_sides[0], pages.shortest_sides[-1], pages.longest_side) == (211, 352, 640)
    assert (pages.crop_from, pages.crop_sides, pages.flip) == ((176, 220, 264), (169, 264), 0.0)


def test_without_augmentation_an_image_is_what_inference_would_see(tiny_config):
    ramp = np.linspace(0, 255, 300 * 200 * 3).reshape(300, 200, 3).astype(np.uint8)
    image = LabelledImage(torch.from_numpy(ramp.transpose(2, 0, 1).copy()), torch.zeros(0, 4), torch.zeros(0).long())
    side, longest = tiny_config.shortest_side, tiny_config.longest_side
    variant = varied(Augmentation((side,), longest, (side,), (side, side), flip=0.0, crop=0.0), image, 0)
    served = prepare(ramp, tiny_config).pixels
    assert variant.pixels.shape == served.shape
    assert (variant.pixels.int() - served.int()).abs().max() <= 1
    assert variant.target().boxes_cxcywh.shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (2, 500)])
def test_extreme_shapes_stay_small(size):
    image = LabelledImage(
        torch.zeros(3, *size).byte(), torch.tensor([[0.0, 0, size[1], size[0]]]), torch.ones(1).long()
    )
    for seed in range(8):
        variant = varied(SMALL, image, seed)
        assert variant.pixels.numel() <= 3 * 133 * 133
        assert len(variant.labels) == 1
    assert max(resize(image, 50, 133).pixels.shape[1:]) <= 133


def test_images_of_one_size_come_out_in_one_size_and_look_different():
    rng = generator(0)
    images = [LabelledImage(torch.randint(0, 256, (3, 90, 120), generator=rng).byte(), *no_objects()) for _ in range(6)]
    sizes = set()
    for seed in range(20):
        variants = [varied(SMALL, image, index, sizes=seed) for index, image in enumerate(images)]
        assert len({variant.pixels.shape for variant in variants}) == 1
        sizes.add(variants[0].pixels.shape)
    assert len(sizes) > 5
    same = [varied(SMALL, images[0], index, sizes=3).pixels for index in range(12)]
    assert any(not torch.equal(same[0], other) for other in same[1:])


def test_colour_changes_within_its_range_and_boxes_stay():
    grey = LabelledImage(torch.full((3, 60, 60), 100).byte(), torch.tensor([[5.0, 5, 50, 50]]), torch.ones(1).long())
    coloured = Augmentation((60,), 120, (60,), (60, 60), flip=0.0, crop=0.0, colour=0.2)
    levels = [int(varied(coloured, grey, seed).pixels[0, 0, 0]) for seed in range(60)]
    assert 79 <= min(levels) < 90 < 110 < max(levels) <= 121  # of one grey, contrast and saturation change nothing
    assert torch.equal(varied(coloured, grey, 1).boxes_xyxy, grey.boxes_xyxy)
    plain = replace(coloured, colour=0.0)
    assert torch.equal(varied(plain, grey, 1).pixels, grey.pixels)


def test_every_step_has_the_sizes_of_its_stage(tiny_config):
    growing = StepAugmentations(tiny_config, Curriculum.parse("3:32-40,2:48-64"), flip=False, colour=0.1)
    for step, (low, high) in ((0, (32, 40)), (2, (32, 40)), (3, (48, 64)), (9, (48, 64))):
        sides = growing(step).shortest_sides
        assert (sides[0], sides[-1]) == (low, high)
        assert (growing(step).flip, growing(step).colour) == (0.0, 0.1)
    assert growing(9).longest_side == tiny_config.longest_side
    assert growing(0).longest_side == 80
    always = StepAugmentations(tiny_config)
    assert always(7) == Augmentation.for_model(tiny_config)


def no_objects():
    return torch.zeros(0, 4), torch.zeros(0).long()
