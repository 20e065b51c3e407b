import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.detr.backbone import fold_batch_norms
from models.images import ImageBatch

SIDES = st.integers(1, 90)
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4)


@pytest.fixture
def tiny_detr(tiny_detr):
    """In float64, where rounding that differs with a batch's shape pushes no query over a hash plane."""
    return tiny_detr.double()


def images_of(sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, *size, generator=generator, dtype=torch.float64) for size in sizes]


def detect(detr, images, attention):
    with torch.inference_mode():
        return detr(ImageBatch.from_images(images), attention)


def assert_independent(detr, images, attention):
    together = detect(detr, images, attention)
    first = 0
    for i, image in enumerate(images):
        single = detect(detr, [image], attention)
        torch.testing.assert_close(together.logits[i], single.logits[0], atol=1e-9, rtol=0)
        torch.testing.assert_close(together.boxes_cxcywh[i], single.boxes_cxcywh[0], atol=1e-9, rtol=0)
        tokens = single.encoded.tokens.lengths[0]
        assert together.encoded.tokens.lengths[i] == tokens
        memory = together.encoded.tokens.values[first : first + tokens]
        torch.testing.assert_close(memory, single.encoded.tokens.values, atol=1e-9, rtol=0)
        first += tokens
        if single.encoded.cluster_counts is not None:
            assert torch.equal(together.encoded.cluster_counts[i], single.encoded.cluster_counts[0])


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES)
def test_exact_detections_do_not_depend_on_batch_mates(tiny_detr, sizes):
    assert_independent(tiny_detr, images_of(sizes), ExactAttention())


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, rounds=st.integers(1, 16), r=st.floats(0.05, 8))
def test_act_detections_do_not_depend_on_batch_mates(tiny_detr, sizes, rounds, r):
    assert_independent(tiny_detr, images_of(sizes), ActAttention(rounds, r))


def test_clusters_vanish_as_r_goes_to_zero(tiny_detr):
    images = images_of([(64, 80), (33, 47)])
    exact = detect(tiny_detr, images, ExactAttention())
    act = detect(tiny_detr, images, ActAttention(L=8, r=1e-4))
    torch.testing.assert_close(act.logits, exact.logits, atol=1e-9, rtol=0)
    torch.testing.assert_close(act.boxes_cxcywh, exact.boxes_cxcywh, atol=1e-9, rtol=0)


def test_coarse_clusters_change_the_output(tiny_detr):
    images = images_of([(64, 80)])
    exact = detect(tiny_detr, images, ExactAttention())
    act = detect(tiny_detr, images, ActAttention(L=1, r=1000.0))
    assert act.encoded.cluster_counts.max() <= 2
    assert (act.encoded.tokens.values - exact.encoded.tokens.values).abs().max() > 1e-3


def test_cluster_counts_are_per_image_layer_and_head(tiny_detr):
    output = detect(tiny_detr, images_of([(64, 80), (1, 1), (64, 80)]), ActAttention(L=4, r=1.0))
    counts = output.encoded.cluster_counts
    config = tiny_detr.config
    assert counts.shape == (3, config.encoder_layers, config.heads)
    assert counts[1].unique().tolist() == [1]
    assert counts[0].min() > 1


def test_folding_batch_norms_keeps_the_output(tiny_detr):
    images = images_of([(64, 80)])
    folded = copy.deepcopy(tiny_detr)
    fold_batch_norms(folded)
    assert not [name for name, _ in folded.named_buffers() if "running" in name]
    before, after = (detect(detr, images, ExactAttention()) for detr in (tiny_detr, folded))
    torch.testing.assert_close(after.logits, before.logits, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeats_are_bit_for_bit_equal(tiny_detr, dtype):
    tiny_detr, images = tiny_detr.to(dtype), [image.to(dtype) for image in images_of([(64, 80), (50, 70)])]
    for attention in (ExactAttention(), ActAttention(L=8, r=1.0)):
        first, second = (detect(tiny_detr, images, attention) for _ in range(2))
        assert torch.equal(first.logits, second.logits)
        assert torch.equal(first.boxes_cxcywh, second.boxes_cxcywh)


def test_pre_norm_differs_and_has_a_last_encoder_norm(tiny_config):
    from dataclasses import replace

    from models.detr.detr import Detr

    torch.manual_seed(0)
    detr = Detr(replace(tiny_config, pre_norm=True)).eval().double()
    assert "transformer.encoder.norm.weight" in detr.state_dict()
    output = detect(detr, images_of([(64, 80)]), ExactAttention())
    memory = output.encoded.tokens.values
    torch.testing.assert_close(memory.mean(-1), memory.new_zeros(len(memory)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (7, 9)])
def test_images_smaller_than_a_stride_work(tiny_detr, size):
    output = detect(tiny_detr, images_of([size]), ActAttention(L=4, r=1.0))
    assert torch.isfinite(output.logits).all()
