import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.detr.multiply_adds import encoder_multiply_adds
from models.images import PackedTokens


def counted(encoder, tokens, attention):
    packed = PackedTokens(torch.randn(tokens, 32), torch.randn(tokens, 32), (tokens,))
    # The counter does not know the fused kernel for CPUs; the plain one is made of products that it counts.
    plain = sdpa_kernel(SDPBackend.MATH)
    with plain, FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoded = encoder(packed, attention)
    return counter.get_total_flops() // 2, encoded.cluster_counts


def test_exact_is_what_pytorch_counts(tiny_detr):
    measured, _ = counted(tiny_detr.transformer.encoder, 57, ExactAttention())
    assert encoder_multiply_adds(tiny_detr.config, ExactAttention(), 57, [0, 0]) == measured


def test_act_is_what_pytorch_counts(tiny_detr):
    attention = ActAttention(L=2, r=30.0)
    measured, counts = counted(tiny_detr.transformer.encoder, 57, attention)
    assert counts.max() < 57
    assert encoder_multiply_adds(tiny_detr.config, attention, 57, counts[0].sum(1).tolist()) == measured
