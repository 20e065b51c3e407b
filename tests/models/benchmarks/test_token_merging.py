from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.benchmarks.token_merging import (
    MergeSetting,
    ProportionalAttention,
    encode_merged,
    match,
    merged_gflops,
)
from models.config import AttentionConfig, DetrConfig
from models.detr.detr import Detr
from models.detr.multiply_adds import exact_gflops
from models.detr.position_encoding import sine_positions
from models.images import PackedTokens

ROWS, COLUMNS = 5, 7
EVERYWHERE = [(where, reach) for where in ("once", "layer", "attention") for reach in ("cell", "global")]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def page_tokens(config: DetrConfig) -> PackedTokens:
    positions = sine_positions(ROWS, COLUMNS, config.hidden_dim, torch.device("cpu"), torch.float32)
    return PackedTokens(random(ROWS * COLUMNS, config.hidden_dim), positions, (ROWS * COLUMNS,))


@pytest.mark.parametrize("reach", ["cell", "global"])
@pytest.mark.parametrize("merged", [0, 1, 10, 23])
def test_sizes_sum_to_the_tokens_and_unmerging_restores_their_number(reach, merged: int) -> None:
    features = random(ROWS * COLUMNS, 8)
    merging = match(features, COLUMNS, merged, reach)
    assert len(merging.sizes) == len(merging.target) == len(features) - merged
    assert merging.sizes.sum() == len(features)
    assert merging.sizes.min() >= 1
    assert torch.equal(merging.group[merging.target], torch.arange(len(merging.sizes)))
    assert merging.unmerge(merging.merge(features)).shape == features.shape


def test_a_group_is_the_mean_of_its_tokens() -> None:
    features = random(ROWS * COLUMNS, 8)
    merging = match(features, COLUMNS, 20, "global")
    means = torch.stack([features[merging.group == group].mean(0) for group in range(len(merging.sizes))])
    torch.testing.assert_close(merging.merge(features), means)


def test_cells_are_squares_of_four() -> None:
    merging = match(random(ROWS * COLUMNS, 8), COLUMNS, 23, "cell")  # 12 of 35 tokens are targets
    place = torch.arange(ROWS * COLUMNS)
    cell = place // COLUMNS // 2 * ((COLUMNS + 1) // 2) + place % COLUMNS // 2
    assert torch.equal(merging.group, cell)


def test_the_most_similar_are_merged_first() -> None:
    features = torch.eye(4)
    features[3] = features[0]  # the fourth token of the only cell is like its target
    assert match(features, 2, 1, "cell").group.tolist() == [0, 1, 2, 0]
    assert match(features, 2, 1, "global").group.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("text", ["exact", "tangent:C=6"])
def test_proportional_attention_counts_identical_keys_as_often_as_they_were(text: str) -> None:
    q, k, v = (random(1, 2, 12, 8, seed=seed) for seed in range(3))
    sizes = torch.tensor([1.0, 2, 3, 1, 4, 1, 1, 1, 2, 1, 1, 5])
    repeated = (x.repeat_interleave(sizes.long(), 2) for x in (k, v))
    config = AttentionConfig.parse(text + ",metric=query" if "tangent" in text else text)
    merged = ProportionalAttention(config, sizes)(q, k, v).values
    if config.mode == "exact":
        torch.testing.assert_close(merged, ExactAttention()(q, *repeated).values)
    else:
        torch.testing.assert_close(merged, make_attention(config)(q, *repeated).values)


def test_sizes_of_one_change_nothing() -> None:
    q, k, v = (random(1, 2, 20, 8, seed=seed) for seed in range(3))
    for config in (AttentionConfig.exact(), AttentionConfig.tangent(4)):
        with_sizes = ProportionalAttention(config, torch.ones(20))(q, k, v).values
        torch.testing.assert_close(with_sizes, make_attention(config)(q, k, v).values)


@pytest.mark.parametrize(("where", "reach"), EVERYWHERE)
@torch.inference_mode()
def test_merging_nothing_is_the_encoder(tiny_detr: Detr, where, reach) -> None:
    tokens, encoder = page_tokens(tiny_detr.config), tiny_detr.transformer.encoder
    expected = encoder(tokens, ExactAttention()).tokens
    encoded = encode_merged(encoder, tokens, COLUMNS, MergeSetting(where, reach, 0.0))
    torch.testing.assert_close(encoded.values, expected.values, rtol=1e-3, atol=1e-4)
    assert encoded.positions is expected.positions


@pytest.mark.parametrize(("where", "reach"), EVERYWHERE)
@torch.inference_mode()
def test_merging_half_keeps_the_number_of_tokens_and_costs_less(tiny_detr: Detr, where, reach) -> None:
    tokens, config = page_tokens(tiny_detr.config), tiny_detr.config
    setting = MergeSetting(where, reach, 0.5)
    encoded = encode_merged(tiny_detr.transformer.encoder, tokens, COLUMNS, setting)
    assert encoded.values.shape == tokens.values.shape
    assert encoded.values.isfinite().all()
    assert merged_gflops(config, setting, 2500) < exact_gflops(config, 2500).encoder


@torch.inference_mode()
def test_merging_identical_tokens_once_changes_nothing(tiny_detr: Detr) -> None:
    tokens = page_tokens(tiny_detr.config)
    cell = match(tokens.values, COLUMNS, 23, "cell")
    same = PackedTokens(*(cell.unmerge(cell.merge(x)) for x in (tokens.values, tokens.positions)), tokens.lengths)
    expected = tiny_detr.transformer.encoder(same, ExactAttention()).tokens.values
    merged = encode_merged(tiny_detr.transformer.encoder, same, COLUMNS, MergeSetting("once", "cell", 23 / 35))
    torch.testing.assert_close(merged.values, expected, rtol=1e-3, atol=1e-4)


def test_settings_are_read(tiny_config: DetrConfig) -> None:
    assert MergeSetting.parse("once-cell-0.5", tiny_config) == MergeSetting("once", "cell", 0.5)
    assert MergeSetting.parse("layer-global-0.25-target+tangent:C=4", tiny_config) == MergeSetting(
        "layer", "global", 0.25, AttentionConfig.tangent(4), "target"
    )
    assert not MergeSetting.parse("once-cell-0.5-once-each", tiny_config).proportional


@pytest.mark.parametrize("text", ["never-cell-0.5", "once-far-0.5", "once-cell-0.8", "once-cell-0.5+act", "once-cell"])
def test_other_settings_are_refused(tiny_config: DetrConfig, text: str) -> None:
    with pytest.raises(ValueError, match="merg"):
        MergeSetting.parse(text, tiny_config)
