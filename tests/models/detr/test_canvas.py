from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from models.attention.exact import ExactAttention
from models.config import BoxRefinementConfig, DetrConfig
from models.detr.canvas import canvas_shares, canvas_size, on_canvas, token_grid
from models.detr.detr import Detr
from models.images import ImageBatch
from models.resizing import Resizing


@pytest.fixture
def config(tiny_config: DetrConfig) -> DetrConfig:
    return replace(tiny_config, resizing=Resizing("sides", None, (100, 84)))


def test_without_a_canvas_images_stay_as_they_are(tiny_config: DetrConfig) -> None:
    image = torch.rand(1, 3, 70, 50)
    for config in (tiny_config, replace(tiny_config, resizing=Resizing())):
        assert on_canvas(image, config) is image
        assert canvas_size(70, 50, config) == (70, 50)
        assert token_grid(70, 50, config) == (9, 7)
        assert canvas_shares([(70, 50)], config) is None


def test_an_image_lies_in_the_corner_of_zeros(config: DetrConfig) -> None:
    image = torch.rand(2, 3, 70, 50)
    padded = on_canvas(image, config)
    assert padded.shape == (2, 3, 100, 84)
    assert torch.equal(padded[..., :70, :50], image)
    assert not padded[..., 70:, :].any()
    assert not padded[..., 50:].any()
    shares = canvas_shares([(70, 50), (100, 84)], config)
    assert shares is not None
    torch.testing.assert_close(shares[:, 0], torch.tensor([[84 / 50, 100 / 70] * 2, [1.0] * 4]))


def test_an_image_larger_than_its_canvas_has_a_larger_one(config: DetrConfig) -> None:
    """Training crops and scales freely."""
    assert canvas_size(120, 50, config) == (120, 84)


def test_tokens_are_those_that_the_mask_of_detr_keeps(config: DetrConfig) -> None:
    stride = config.backbone.stride
    for height, width in [(1, 1), (8, 8), (9, 7), (70, 50), (99, 83), (100, 84), (97, 81)]:
        mask = torch.zeros(1, 1, 100, 84)
        mask[..., :height, :width] = 1
        kept = interpolate(mask, size=(-(-100 // stride), -(-84 // stride)))[0, 0].bool()
        assert token_grid(height, width, config) == (int(kept[:, 0].sum()), int(kept[0].sum()))


@pytest.mark.parametrize("refined", [False, True])
def test_boxes_are_relative_to_the_image_in_any_batch(config: DetrConfig, refined: bool) -> None:
    torch.manual_seed(0)
    config = replace(config, box_refinement=BoxRefinementConfig() if refined else None)
    detr = Detr(config).eval()
    images = [torch.rand(3, *size) for size in ((70, 50), (100, 84), (33, 80))]
    with torch.no_grad():
        together = detr(ImageBatch.from_images(images), ExactAttention())
        for place, image in enumerate(images):
            alone = detr(ImageBatch.from_images([image]), ExactAttention())
            torch.testing.assert_close(together.boxes_cxcywh[place], alone.boxes_cxcywh[0], rtol=1e-4, atol=1e-5)
    assert together.encoded.tokens.lengths == tuple(
        rows * columns for rows, columns in (token_grid(*image.shape[1:], config) for image in images)
    )
