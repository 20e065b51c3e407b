"""Attention of as many prototypes as each image and head has, and no more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def prototype_attention(prototypes: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """softmax(p kᵀ / sqrt(D)) v for the first counts[b, h] rows of prototypes [B, H, C, D]; other rows are zero.

    k, v [B, H, N, D]; counts int64 [B, H].
    """
    out = torch.zeros_like(prototypes)
    for image, heads in enumerate(counts.tolist()):
        for head, count in enumerate(heads):
            own = (slice(image, image + 1), slice(head, head + 1))
            attended = scaled_dot_product_attention(prototypes[own][:, :, :count], k[own], v[own])
            out[own][:, :, :count] = attended
    return out
