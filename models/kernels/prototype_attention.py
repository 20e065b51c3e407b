"""Attention of prototypes on a GPU, without reading their number back (ACT, section 3.2, equations 4 and 5).

The plain twin, and the choice between the two, is `models.attention.prototype_attention`. Importing this module
imports Triton.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E: Final = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Prototypes and keys a program handles at a time, its warps, and how many loads of keys it keeps in flight."""

    block_c: int
    block_n: int
    warps: int
    stages: int


@triton.jit(do_not_specialize=["capacity", "tokens"])  # type: ignore[untyped-decorator]
def attend_prototypes(  # type: ignore[no-untyped-def]
    prototypes,
    k,
    v,
    counts,
    out,
    p_image,
    p_head,
    p_row,
    k_image,
    k_head,
    k_row,
    v_image,
    v_head,
    v_row,
    counts_image,
    counts_head,
    out_image,
    out_head,
    out_row,
    heads,
    capacity,
    tokens,
    scale,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One program: BLOCK_C prototypes of one image and head, softmax over all keys as they stream past.

    Names that end in _image, _head and _row are strides in elements. `scale` is log2(e) / sqrt(D): powers of two
    are what the hardware has.
    """
    image = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    count = tl.load(counts + image * counts_image + head * counts_head).to(tl.int32)
    first = tl.program_id(0) * BLOCK_C
    row = first + tl.arange(0, BLOCK_C)
    column = tl.arange(0, BLOCK_D)
    own = (row < count)[:, None] & (column < D)[None, :]
    p = tl.load(
        prototypes + image * p_image + head * p_head + row[:, None] * p_row + column[None, :], mask=own, other=0.0
    )
    k += image * k_image + head * k_head
    v += image * v_image + head * v_head
    peak = tl.full([BLOCK_C], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_C], tl.float32)
    weighted = tl.zeros([BLOCK_C, BLOCK_D], tl.float32)
    # Past the last prototype there is nothing to attend: such programs read no key and write zeros.
    for start in range(0, tl.where(first < count, tokens, 0), BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        real = token < tokens
        keys = tl.load(
            k + token[None, :] * k_row + column[:, None],
            mask=real[None, :] & (column < D)[:, None],
            other=0.0,
        )
        values = tl.load(
            v + token[:, None] * v_row + column[None, :],
            mask=real[:, None] & (column < D)[None, :],
            other=0.0,
        )
        logits = tl.dot(p, keys, input_precision="ieee") * scale
        logits = tl.where(real[None, :], logits, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(logits, 1))
        weights = tl.exp2(logits - new_peak[:, None])
        decay = tl.exp2(peak - new_peak)
        total = total * decay + tl.sum(weights, 1)
        weighted = weighted * decay[:, None]
        weighted = tl.dot(weights.to(values.dtype), values, weighted, input_precision="ieee")
        peak = new_peak
    attended = tl.where(own, weighted / tl.where(total > 0, total, 1.0)[:, None], 0.0)
    tl.store(
        out + image * out_image + head * out_head + row[:, None] * out_row + column[None, :],
        attended.to(out.dtype.element_ty),
        mask=(row < capacity)[:, None] & (column < D)[None, :],
    )


@torch.library.custom_op("act_detr::prototype_attention", mutates_args=())
def prototype_attention(prototypes: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """softmax(p kᵀ / sqrt(D)) v for the first counts[b, h] rows of prototypes [B, H, C, D]; other rows are zero.

    k, v [B, H, N, D], N >= 1, of any strides; all three float32, float16 or bfloat16 alike; counts int64 [B, H],
    each at most C. Sums are float32, and products of float32 never TF32. Not differentiable. Nothing waits for
    the device. An operator of PyTorch's, so that fake tensors pass through; that takes 3 µs a call.
    """
    images, heads, capacity, head_dim = prototypes.shape
    tiles = tiling(prototypes.dtype, head_dim)
    prototypes, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (prototypes, k, v))
    out = torch.empty_like(prototypes)
    with torch.cuda.device_of(prototypes):  # type: ignore[no-untyped-call]
        attend_prototypes[(triton.cdiv(capacity, tiles.block_c), images * heads)](
            *(prototypes, k, v, counts, out),
            *(stride for x in (prototypes, k, v) for stride in x.stride()[:3]),
            *counts.stride(),
            *out.stride()[:3],
            *(heads, capacity, k.shape[2], head_dim**-0.5 * LOG2_E),
            D=head_dim,
            BLOCK_D=padded_width(head_dim),
            BLOCK_C=tiles.block_c,
            BLOCK_N=tiles.block_n,
            num_warps=tiles.warps,
            num_stages=tiles.stages,
        )
    return out


@prototype_attention.register_fake
def _attended(prototypes: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(prototypes if prototypes.stride(-1) == 1 else prototypes.contiguous())


def padded_width(head_dim: int) -> int:
    """The power of two, at least 16, that matrix units want."""
    return max(16, int(triton.next_power_of_2(head_dim)))


def tiling(dtype: torch.dtype, head_dim: int) -> Tiling:
    """A fixed choice: with tuning at run time, rounding would differ between two runs.

    float32 without TF32 has no matrix units to feed; its tiles are as large as registers allow.
    """
    if dtype == torch.float32:
        return Tiling(32, 32, warps=4, stages=2) if head_dim <= 32 else Tiling(32, 16, warps=4, stages=2)
    return Tiling(64, 64, warps=4, stages=3) if head_dim <= 64 else Tiling(64, 32, warps=4, stages=2)
