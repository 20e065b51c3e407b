import numpy as np
import pytest
import torch

from models.training.curriculum import Curriculum, Stage
from models.training.page_stream import PageStream, as_target, held_out_pages
from models.training.pages import LABELS, render_page

CURRICULUM = Curriculum((Stage(3, (96, 112)),))


def test_a_resumed_stream_sees_what_it_would_have_seen():
    whole = [batch.pixels for batch in PageStream(CURRICULUM, 2, first_step=0)]
    resumed = [batch.pixels for batch in PageStream(CURRICULUM, 2, first_step=1)]
    assert len(whole) == 3
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], resumed, strict=True))


def test_processes_share_a_batch_without_overlap():
    whole = PageStream(CURRICULUM, 4, 0).batch(1)
    shares = [PageStream(CURRICULUM, 4, 0, rank, 2).batch(1) for rank in range(2)]
    assert torch.equal(torch.stack((shares[0].pixels, shares[1].pixels), 1).flatten(0, 1), whole.pixels)
    assert [len(share.targets) for share in shares] == [2, 2]


def test_targets_are_relative_to_the_page():
    page = render_page(3, 160, 128)
    target = as_target(page)
    size = torch.tensor([128, 160])
    centre = (page.boxes_xyxy[0, :2] + page.boxes_xyxy[0, 2:]) / 2
    np.testing.assert_allclose(target.boxes_cxcywh[0, :2] * size, centre, atol=1e-3)
    assert target.labels.max() < len(LABELS)


def test_held_out_pages_are_always_the_same_and_never_trained_on():
    first, again = (next(iter(held_out_pages(1, 120, 96))) for _ in range(2))
    trained = render_page(0, 120, 96)
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert not np.array_equal(np.asarray(first.image), np.asarray(trained.image))


def test_pixels_are_normalised_as_for_inference(tiny_config):
    from models.preprocess import PreparedImage, normalised
    from models.training.train import normalise

    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    expected = normalised(PreparedImage(pixels[0], 8, 8), tiny_config, torch.device("cpu"), torch.float32)
    assert normalise(pixels, tiny_config)[0].numpy() == pytest.approx(expected.numpy(), abs=1e-6)
