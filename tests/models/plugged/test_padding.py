"""Attention over the tokens that a mask keeps, and which masks are of padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.plugged.padding import attend_kept, kept_by_row, kept_keys

SETTINGS = ["act:L=4,r=2", "kmeans:C=5", "tangent:C=5", "tangent:C=5,expansion_points=2"]
KEPT = torch.tensor(
    [[1] * 30 + [0] * 10, [1, 0] * 20, [1] * 40, [0] * 7 + [1] * 20 + [0] * 13, [1] * 20 + [0] * 20]
).bool()


def random_qkv(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(5, 3, 40, 8, generator=generator).to(dtype) for _ in range(3))
    return 2 * q, k, v


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_image_is_attended_as_it_is_by_itself(settings: str) -> None:
    q, k, v = random_qkv(torch.float64)
    attend = make_attention(AttentionConfig.parse(settings))
    together = attend_kept(attend, q, k, v, KEPT)
    assert together.tokens == [30, 20, 40, 20, 20]
    assert together.cluster_counts is not None
    for image, kept in enumerate(KEPT):
        alone = attend(*(x[image : image + 1, :, kept] for x in (q, k, v)))
        torch.testing.assert_close(together.values[image, :, kept], alone.values[0], rtol=0, atol=1e-12)
        assert alone.cluster_counts is not None
        assert torch.equal(together.cluster_counts[image], alone.cluster_counts[0])
        assert not together.values[image, :, ~kept].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", SETTINGS)
def test_half_precision_keeps_its_type(settings: str, dtype: torch.dtype) -> None:
    attended = attend_kept(make_attention(AttentionConfig.parse(settings)), *random_qkv(dtype), KEPT)
    assert attended.values.dtype == dtype
    assert attended.values.isfinite().all()
    assert not attended.values[0, :, ~KEPT[0]].any()


def test_an_image_of_padding_has_no_clusters_and_no_values() -> None:
    kept = KEPT.clone()
    kept[1] = False
    attended = attend_kept(make_attention(AttentionConfig.kmeans(C=5)), *random_qkv(), kept)
    assert attended.tokens == [30, 0, 40, 20, 20]
    assert attended.cluster_counts is not None
    assert attended.cluster_counts[1].tolist() == [0, 0, 0]
    assert not attended.values[1].any()
    assert attended.values.isfinite().all()


def test_padding_that_is_read_attends_exactly(attention_rounding: Callable[..., Tensor]) -> None:
    q, k, v = random_qkv()
    attended = attend_kept(make_attention(AttentionConfig.kmeans(C=5)), q, k, v, KEPT, padding_read=True)
    exact = scaled_dot_product_attention(q, k, v, KEPT[:, None, None])
    for image, kept in enumerate(KEPT):
        own_k, own_v = k[image, :, kept], v[image, :, kept]
        bound = attention_rounding(q[image], own_k, own_v)[:, ~kept]
        difference = (attended.values - exact)[image, :, ~kept].abs()
        assert (difference <= 2 * bound).all()


def test_one_mask_serves_all_images() -> None:
    q, k, v = random_qkv()
    attend = make_attention(AttentionConfig.tangent(C=5))
    every = attend_kept(attend, q, k, v, KEPT[:1])
    assert every.tokens == [30] * 5
    assert torch.equal(every.values, attend_kept(attend, q, k, v, KEPT[:1].expand(5, -1)).values)


def test_a_mask_that_keeps_everything_changes_nothing() -> None:
    q, k, v = random_qkv()
    attend = make_attention(AttentionConfig.tangent(C=5))
    masked = attend_kept(attend, q, k, v, torch.ones(5, 40, dtype=torch.bool))
    assert torch.equal(masked.values, attend_kept(attend, q, k, v, None).values)
    assert masked.tokens == [40] * 5


def additive(kept: Tensor, dtype: torch.dtype, hidden: float) -> Tensor:
    return torch.zeros(kept.shape, dtype=dtype).masked_fill(~kept, hidden)


@pytest.mark.parametrize(
    "row",
    [
        KEPT,
        additive(KEPT, torch.float32, -torch.inf),
        additive(KEPT, torch.float32, torch.finfo(torch.float32).min),
        additive(KEPT, torch.float16, torch.finfo(torch.float16).min),
        additive(KEPT, torch.bfloat16, torch.finfo(torch.bfloat16).min),
    ],
    ids=["bool", "infinite", "float32", "float16", "bfloat16"],
)
@pytest.mark.parametrize("form", ["one row", "a view", "written out", "for each head"])
def test_masks_of_padding_are_read_in_every_form(row: Tensor, form: str) -> None:
    mask = row[:, None, None]
    if form != "one row":
        mask = mask.expand(-1, 3 if form == "for each head" else 1, 40, -1)
    kept = kept_keys(mask if form in ("one row", "a view") else mask.clone())
    assert kept is not None
    assert torch.equal(kept, KEPT)


def test_masks_that_do_more_than_hide_padding_are_told() -> None:
    causal = torch.ones(40, 40, dtype=torch.bool).tril().expand(5, 1, -1, -1)
    bias = torch.zeros(5, 1, 40, 40)
    bias[3, 0, 2, 1] = -1.0
    windows = torch.block_diag(*[torch.ones(8, 8)] * 5).bool()[None, None]
    for mask in (causal, bias, windows, torch.zeros(5, 1, 1, 40).long(), KEPT):
        assert kept_keys(mask) is None
    by_head = KEPT[:, None, None].repeat(1, 3, 1, 1)
    by_head[0, 2, 0, 0] = False
    assert kept_keys(by_head) is None
    assert kept_by_row(torch.full((5, 40), -5.0)) is None
