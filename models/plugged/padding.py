"""Padded batches: which tokens a mask keeps, and attention over each image's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.strategy import Attended, AttentionStrategy
from models.plugged.graph import outside_graph

MASKED_BELOW: Final = -6e4
"""Values of an additive mask that hide a key: from about the least float16 down, far below any logit."""


@dataclass(frozen=True, slots=True)
class AttendedBatch:
    """`values` [B, H, N, D], `cluster_counts` int64 [B, H] or None, and how many tokens each of B images has."""

    values: Tensor
    cluster_counts: Tensor | None
    tokens: list[int]


@outside_graph
def kept_keys(mask: Tensor) -> Tensor | None:
    """Which keys bool [B or 1, N] a mask [B or 1, H or 1, N or 1, N] keeps, or None where it is no padding mask.

    A mask of padding is the same for all queries and heads: bool, True for keys that are kept, or additive, 0 for them
    and below `MASKED_BELOW` for others.
    """
    if mask.dim() != 4:
        return None
    row = mask[:, 0, 0]
    repeated = all(mask.shape[axis] == 1 or mask.stride(axis) == 0 for axis in (1, 2))
    if not repeated and not bool((mask == row[:, None, None]).all()):
        return None
    return kept_by_row(row)


@outside_graph
def kept_by_row(row: Tensor) -> Tensor | None:
    """Which keys bool [B, N] a row of a mask [B, N] keeps, as in `kept_keys`; None where it adds other values."""
    if row.dtype == torch.bool:
        return row
    if not row.is_floating_point():
        return None
    kept = row == 0
    return kept if bool((kept | (row <= MASKED_BELOW)).all()) else None


def attend_kept(
    attend: AttentionStrategy, q: Tensor, k: Tensor, v: Tensor, kept: Tensor | None, padding_read: bool = False
) -> AttendedBatch:
    """Attend with those tokens of q, k, v [B, H, N, D] that `kept` bool [B or 1, N] keeps; None keeps all.

    Every image is attended as it would be by itself; images that keep equally many tokens are attended together.
    Values of padding are 0 or, if they are `padding_read`, those of exact attention to the tokens that are kept.
    """
    images, tokens = q.shape[0], q.shape[2]
    lengths = [tokens] * images if kept is None else kept.expand(images, -1).sum(-1).tolist()
    if kept is None or min(lengths) == tokens:
        attended = attend(q, k, v)
        return AttendedBatch(attended.values, attended.cluster_counts, lengths)
    kept = kept.expand(images, -1)
    order, parts = [], []
    for length in sorted(set(lengths)):
        group = [image for image in range(images) if lengths[image] == length]
        order += group
        parts.append(_attend_group(attend, q[group], k[group], v[group], kept[group], padding_read))
    back = torch.tensor(order, device=q.device).argsort()
    counts = [part.cluster_counts for part in parts if part.cluster_counts is not None]
    return AttendedBatch(
        torch.cat([part.values for part in parts]).index_select(0, back),
        torch.cat(counts).index_select(0, back) if len(counts) == len(parts) else None,
        lengths,
    )


def _attend_group(
    attend: AttentionStrategy, q: Tensor, k: Tensor, v: Tensor, kept: Tensor, padding_read: bool
) -> Attended:
    """Attend for images that keep equally many tokens each, and spread the values over all tokens."""
    images, heads = q.shape[:2]
    values = torch.zeros_like(v)
    places = _places(kept, q)
    if not places.shape[2]:
        return Attended(values, torch.zeros(images, heads, dtype=torch.int64, device=q.device))
    own_k, own_v = k.gather(2, places), v.gather(2, places)
    attended = attend(q.gather(2, places), own_k, own_v)
    values = values.scatter(2, places, attended.values)
    if padding_read and not kept.all():
        padding = _places(~kept, q)
        values = values.scatter(2, padding, scaled_dot_product_attention(q.gather(2, padding), own_k, own_v))
    return Attended(values, attended.cluster_counts)


def _places(chosen: Tensor, q: Tensor) -> Tensor:
    """Indices int64 [B, H, n, D] of the n tokens that each row of `chosen` bool [B, N] has."""
    images, heads, _, dim = q.shape
    return chosen.nonzero()[:, 1].view(images, 1, -1, 1).expand(-1, heads, -1, dim)
