"""A doubled model sees an image of twice the size as the old one sees it at its own."""

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d

from models.config import BackboneConfig, BoxRefinementConfig
from models.detections import box_ious
from models.detector import Detector, load_detector
from models.detr.detr import Detr
from models.resizing import Resizing
from models.training.doubled import COLOURS, doubled, entry_convolution
from models.training.starting_point import starting_point
from models.weights import load_strict

ROUNDING = 1e-4


@pytest.fixture
def old(tiny_config) -> Detr:
    torch.manual_seed(0)
    backbone = BackboneConfig("basic", (1, 1), width=8)
    return Detr(replace(tiny_config, backbone=backbone, box_refinement=BoxRefinementConfig(fine_channels=4))).eval()


def made_from(old: Detr) -> Detr:
    config, weights = doubled(old.config, old.state_dict())
    made = Detr(config).eval()
    load_strict(made, weights)
    return made


def halved(images: torch.Tensor) -> torch.Tensor:
    """The first channels of the entry: the colours at half the size, here with their sign."""
    weight, bias = entry_convolution()
    return conv2d(images, weight[:COLOURS], bias[:COLOURS], stride=2, padding=1)


def test_the_entry_halves_an_image_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
    wanted = np.asarray(Image.fromarray(pixels).resize((12, 16), Image.Resampling.BILINEAR), np.float32)
    got = halved(torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got[1:-1, 1:-1], wanted[1:-1, 1:-1], atol=1)  # Pillow rounds to whole numbers, twice


def test_the_stem_sees_what_it_saw(old):
    made = made_from(old)
    images = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, stem, first, last = made.backbone(images)
        old_stem, old_first, old_last = old.backbone(halved(images))
    torch.testing.assert_close(stem, old_stem, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(first, old_first, rtol=0, atol=ROUNDING)
    assert last.shape[-2:] == (old_last.shape[-2] * 2, old_last.shape[-1] * 2)


def test_the_encoder_gets_four_times_as_many_tokens(old):
    made = made_from(old)
    assert made.config.backbone.stride == old.config.backbone.stride
    assert made.config.shortest_side == 2 * old.config.shortest_side
    assert Detector(made).config.longest_side == 2 * old.config.longest_side


def test_the_refinement_reads_the_old_maps_as_coarse_ones(old):
    made = made_from(old)
    images = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pyramid = made.box_refinement.pyramid(made.backbone(images), 64, 48)
        before = old.box_refinement.pyramid(old.backbone(halved(images)), 32, 24)
    torch.testing.assert_close(pyramid.coarse[:, :4], before.fine, rtol=0, atol=ROUNDING)
    assert pyramid.fine.shape[-2:] == (32, 24)


def test_images_with_an_odd_side_make_as_many_tokens_as_their_size_says(old):
    detector = Detector(made_from(old))
    for height, width in ((63, 48), (64, 47), (65, 49)):
        image = detector.preprocess(np.zeros((height, width, 3), np.uint8))
        assert detector.encoder_tokens(image).lengths == (detector.tokens(image),)


def test_a_doubled_page_detector_finds_what_the_detector_finds():
    path = resources.files("models.pretrained").joinpath("sample-page.jpg")
    with path.open("rb") as file:
        page = np.asarray(Image.open(file).convert("RGB"))
    start = starting_point("pages-small:doubled")
    network = Detr(start.config)
    load_strict(network, start.weights)
    small, large = load_detector("pages-small"), Detector(network)
    one, other = (detector.detect(page, threshold=0.5).detections.select(nms=0.7) for detector in (small, large))
    overlaps = box_ious(one.boxes_xyxy, other.boxes_xyxy) > 0.75
    alike = np.array(one.labels)[:, None] == np.array(other.labels)
    assert (overlaps & alike).any(1).mean() > 0.8  # all but one of 14; dilation changes the last features


def test_what_cannot_be_doubled_is_refused(old):
    weights = old.state_dict()
    twice, _ = doubled(old.config, weights)
    with pytest.raises(ValueError, match="entry"):
        doubled(twice, weights)
    with pytest.raises(ValueError, match="resize"):
        doubled(replace(old.config, resizing=Resizing("none")), weights)
    with pytest.raises(ValueError, match="nothing to start from"):
        starting_point("pages-small:scratch:doubled")
