"""Exact attention of images with unequally many tokens in one call, on a GPU: `torch.nn.attention.varlen`.

It has no CPU kernel. `packed_attention_plain` is its plain twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.torch_version import TorchVersion

from models.images import PackedTokens
from models.precision import AMPERE

KERNEL_DTYPES: Final = (torch.float16, torch.bfloat16)
KERNEL_MAX_HEAD_DIM: Final = 256
KERNEL_HEAD_DIM_STEP: Final = 8

ONE_SPLIT: Final[dict[str, Any]] = {"num_splits": 1} if torch.__version__ >= TorchVersion("2.13") else {}
"""Keys are summed in one order, whatever else is in the batch. It also keeps PyTorch from cuDNN, which would plan for
tens of milliseconds for each new shape. Before 2.13 Flash Attention 2 refuses the option, and cuDNN is not chosen."""


def takes_unequal(q: Tensor, head_dim: int, lengths: Sequence[int]) -> bool:
    """Whether one call attends with queries like q, in heads of this width, to images of these token counts.

    The device is asked for no result. Equal counts make one dense run, which needs no packed kernel; gradients are left
    to the dense one.
    """
    return (
        q.is_cuda
        and q.dtype in KERNEL_DTYPES
        and len(set(lengths)) > 1
        and head_dim <= KERNEL_MAX_HEAD_DIM
        and head_dim % KERNEL_HEAD_DIM_STEP == 0
        and not (torch.is_grad_enabled() and q.requires_grad)
        and _has_kernel(q.device)
    )


def packed_attention(q: Tensor, k: Tensor, v: Tensor, keys: PackedTokens, queries: tuple[int, ...]) -> Tensor:
    """softmax(q kᵀ / sqrt(D)) v of every image by itself: [sum of queries, H, D].

    q [sum of queries, H, D] has `queries[b]` rows for image b; k, v [T, H, D] are of the tokens `keys`. CUDA tensors of
    a half precision, each row of contiguous heads.
    """
    from torch.nn.attention.varlen import varlen_attn

    ends = keys.offsets(queries), keys.offsets(keys.lengths)
    attended = varlen_attn(q, k, v, *ends, max(queries), max(keys.lengths), **ONE_SPLIT)
    return cast("Tensor", attended)  # the log-sum-exp comes with it only where asked for


def packed_attention_plain(q: Tensor, k: Tensor, v: Tensor, keys: PackedTokens, queries: tuple[int, ...]) -> Tensor:
    """The same as `packed_attention` on any device and in any dtype, from the same offsets.

    Every query meets every key, and a mask keeps to the image: for tests, not for speed.
    """
    query_image = _image_of_row(len(q), keys.offsets(queries))
    key_image = _image_of_row(len(k), keys.offsets(keys.lengths))
    own = query_image[:, None] == key_image
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, own).transpose(0, 1)


def _image_of_row(rows: int, offsets: Tensor) -> Tensor:
    return torch.bucketize(torch.arange(rows, device=offsets.device), offsets[1:], right=True)


@cache
def _has_kernel(device: torch.device) -> bool:
    """Whether this PyTorch has the call and Flash Attention, and the GPU is one that it runs on."""
    return (
        find_spec("torch.nn.attention.varlen") is not None
        and torch.version.hip is None
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= AMPERE
    )
