import numpy as np
import pytest
import torch

from models.data.pages import render_page
from models.named_models import PAGE_LABELS
from models.preprocess import normalise
from models.training.data.batches import load
from models.training.data.page_stream import PageStream, as_target
from models.training.plan.curriculum import Curriculum, Stage

CURRICULUM = Curriculum((Stage(3, (96, 112)),))


def test_a_resumed_run_gets_the_batches_of_one_that_was_not_stopped(same_batch):
    whole = list(load(PageStream(CURRICULUM, 2), 0, 3, workers=1))
    resumed = list(load(PageStream(CURRICULUM, 2), 1, 3, workers=0))
    assert [same_batch(*pair) for pair in zip(whole[1:], resumed, strict=True)] == [True, True]


def test_pages_of_one_step_have_the_size_that_the_curriculum_says():
    batch = PageStream(CURRICULUM, 2).batch(1)
    assert all(image.shape == (3, *CURRICULUM.page_size(1)) for image in batch.images)
    assert all(image.dtype == torch.uint8 for image in batch.images)


def test_processes_share_a_batch_without_overlap():
    whole = PageStream(CURRICULUM, 4).batch(1)
    shares = [PageStream(CURRICULUM, 4, rank, 2).batch(1) for rank in range(2)]
    together = [image for pair in zip(*(share.images for share in shares), strict=True) for image in pair]
    assert all(torch.equal(a, b) for a, b in zip(together, whole.images, strict=True))
    assert [len(share.targets) for share in shares] == [2, 2]


def test_targets_are_relative_to_the_page():
    page = render_page(3, 160, 128)
    target = as_target(page)
    size = torch.tensor([128, 160])
    centre = (page.boxes_xyxy[0, :2] + page.boxes_xyxy[0, 2:]) / 2
    np.testing.assert_allclose(target.boxes_cxcywh[0, :2] * size, centre, atol=1e-3)
    assert target.labels.max() < len(PAGE_LABELS)


def test_pixels_are_normalised_as_for_inference(tiny_config):
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    mean, std = (np.array(values)[:, None, None] for values in (tiny_config.mean, tiny_config.std))
    assert normalise(pixels, tiny_config)[0].numpy() == pytest.approx((pixels[0].numpy() / 255 - mean) / std, abs=1e-6)
