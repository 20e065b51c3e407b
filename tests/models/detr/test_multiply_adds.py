"""Multiply-adds against PyTorch's own count, and against the paper's account."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.config import BackboneConfig, BoxRefinementConfig
from models.detr.canvas import token_grid
from models.detr.detr import Detr
from models.detr.multiply_adds import Gflops, exact_gflops, gflops
from models.images import ImageBatch
from models.named_models import named_config
from models.preprocess import resized_for

PHOTO_SIZES = """480x640 426x640 428x640 425x640 640x481 478x640 500x381 488x640 640x480 426x640 640x427 640x565
426x640 375x500 612x612 425x640 640x512 480x640 427x640 427x640 416x640 480x640 640x416 481x640 480x640 374x500
573x640 640x480 500x600 480x640 428x640 640x480 640x427 480x640 536x640 480x640 480x640 480x640 428x640 480x640"""
"""Height and width of 40 photographs of COCO's train2017."""


def counted(detr, height, width, attention):
    """Giga multiply-adds by PyTorch's count, of the encoder and of all but the backbone; and the model's output."""
    detr.requires_grad_(False)  # the counter hooks into gradients, which inference mode has none of
    images = torch.zeros(1, 3, height, width, device=detr.query_embed.weight.device)
    # The counter does not know the fused kernel for CPUs; the plain one is made of products that it counts, two
    # operations a multiply-add.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, depth=None) as counter, torch.inference_mode():
        output = detr(ImageBatch((images,), (0,)), attention)
    giga = {name: sum(flops.values()) / 2e9 for name, flops in counter.get_flop_counts().items()}
    return giga["Detr.transformer.encoder"], giga["Global"] - giga["Detr.backbone"], output


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 75), (33, 128)])
def test_tiny_model_costs_what_pytorch_counts(tiny_detr, height, width):
    encoder, total, output = counted(tiny_detr, height, width, ExactAttention())
    (tokens,) = output.encoded.tokens.lengths
    cost = exact_gflops(tiny_detr.config, tokens)
    assert (cost.encoder, cost.total) == pytest.approx((encoder, total), rel=1e-12)


@pytest.mark.parametrize("name", ["detr-r50-dc5", "pages-small", "pages-large"])
@pytest.mark.parametrize(("height", "width"), [(800, 1066), (480, 352)])
def test_real_models_cost_what_pytorch_counts(name, height, width):
    config = replace(named_config(name), box_refinement=None)
    with torch.device("meta"):  # shapes only, which cannot say how many boxes are refined
        detr = Detr(config).eval()
    encoder, total, output = counted(detr, height, width, ExactAttention())
    (tokens,) = output.encoded.tokens.lengths
    assert tokens == -(-height // 16) * -(-width // 16)
    cost = exact_gflops(config, tokens)
    assert (cost.encoder, cost.total) == pytest.approx((encoder, total), rel=1e-12)


@pytest.mark.parametrize(("least_score", "boxes"), [(0.0, 9), (1.0, 0)])
def test_box_refinement_costs_what_pytorch_counts(tiny_detr, least_score, boxes):
    backbone = BackboneConfig("basic", (1, 1, 1), width=8)
    refinement = BoxRefinementConfig(least_score=least_score)
    config = replace(tiny_detr.config, backbone=backbone, box_refinement=refinement)
    torch.manual_seed(0)
    _, total, output = counted(Detr(config).eval(), 96, 64, ExactAttention())
    (tokens,), (refined,) = output.encoded.tokens.lengths, output.refined
    assert refined == boxes
    assert exact_gflops(config, tokens, refined).total == pytest.approx(total, rel=1e-12)
    max_cost = exact_gflops(config, tokens)
    assert max_cost.total >= total
    assert max_cost.encoder == exact_gflops(replace(config, box_refinement=None), tokens).encoder


def test_act_costs_what_pytorch_counts(tiny_detr):
    attention = ActAttention(L=2, r=30.0)
    encoder, total, output = counted(tiny_detr, 100, 75, attention)
    (tokens,) = output.encoded.tokens.lengths
    by_layer = output.encoded.cluster_counts[0].sum(-1).tolist()
    assert sum(by_layer) < tokens * 4
    cost = gflops(tiny_detr.config, attention, tokens, by_layer)
    assert (cost.encoder, cost.total) == pytest.approx((encoder, total), rel=1e-12)


def test_parts_lie_inside_each_other_and_only_attention_is_saved(tiny_config):
    exact = exact_gflops(tiny_config, 100)
    assert exact.attention == pytest.approx(2 * 2 * 100**2 * 32 / 1e9)
    assert exact.attention < exact.encoder < exact.total
    act = gflops(tiny_config, ActAttention(L=2, r=8.0), 100, [10, 10])
    saved = exact.attention - act.attention
    assert saved > 0
    assert exact.total - act.total == pytest.approx(saved)


def test_mean_over_images():
    assert Gflops.mean([Gflops(1, 2, 3), Gflops(3, 6, 9)]) == Gflops(2, 4, 6)


def test_dc5_over_photographs_costs_what_the_paper_says():
    """About 72 over COCO val (the paper says 73.4); a sample of COCO's other photographs comes within 4 % of it."""
    config = named_config("detr-r50-dc5")
    sizes = [resized_for(config, *map(int, size.split("x"))) for size in PHOTO_SIZES.split()]
    grids = [token_grid(*size, config) for size in sizes]
    mean = Gflops.mean([exact_gflops(config, rows * columns) for rows, columns in grids])
    assert mean.total == pytest.approx(72, rel=0.04)
