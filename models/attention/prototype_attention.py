"""Attention of the prototypes that each image and head has (ACT, section 3.2, equations 4 and 5)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

KERNEL_DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
KERNEL_MAX_HEAD_DIM: Final = 128


def prototype_attention(prototypes: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """softmax(p kᵀ / sqrt(D)) v for the first counts[b, h] rows of prototypes [B, H, C, D]; other rows are zero.

    k, v [B, H, N, D], of the prototypes' dtype; counts int64 [B, H], each at most C. On a GPU nothing waits for
    the counts.
    """
    if not prototypes.is_cuda:
        return attend_by_head(prototypes, k, v, counts)
    differentiable = torch.is_grad_enabled() and any(x.requires_grad for x in (prototypes, k, v))
    if differentiable or not kernel_fits(prototypes):
        return attend_all_rows(prototypes, k, v, counts)
    from models.kernels import prototype_attention as kernel

    attended: Tensor = kernel.prototype_attention(prototypes, k, v, counts)
    return attended


def attend_by_head(prototypes: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """One fused call per head, where counts are at hand: the least work. Differentiable; the kernel's plain twin."""
    out = torch.zeros_like(prototypes)
    for image, heads in enumerate(counts.tolist()):
        for head, count in enumerate(heads):
            own = (slice(image, image + 1), slice(head, head + 1))
            attended = scaled_dot_product_attention(prototypes[own][:, :, :count], k[own], v[own])
            out[own][:, :, :count] = attended
    return out


def attend_all_rows(prototypes: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """Attention of every row up to the capacity, then zeros past the count. Differentiable, needs no kernel."""
    row = torch.arange(prototypes.shape[-2], device=prototypes.device)
    spare = row >= counts[..., None]
    return scaled_dot_product_attention(prototypes, k, v).masked_fill(spare[..., None], 0)


def kernel_fits(prototypes: Tensor) -> bool:
    """Whether the Triton kernel can take CUDA tensors like this one."""
    return (
        prototypes.dtype in KERNEL_DTYPES
        and prototypes.shape[-1] <= KERNEL_MAX_HEAD_DIM
        and _runs_triton(prototypes.device)
    )


@cache
def _runs_triton(device: torch.device) -> bool:
    """Whether Triton is installed and builds for this GPU: Ampere and later."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (8, 0)
