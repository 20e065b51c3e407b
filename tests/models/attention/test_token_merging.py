from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention, make_merging
from models.attention.token_merging import TokenMerging, matching_multiply_adds
from models.attention_config import AttentionConfig
from models.detr.detr import Detr
from models.detr.position_encoding import sine_positions
from models.images import PackedTokens

GRIDS = [(5, 7), (6, 4), (1, 9), (2, 2)]
DIM = 16


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens_on(*grids: tuple[int, int], dim: int = DIM, seed: int = 0) -> PackedTokens:
    lengths = tuple(rows * columns for rows, columns in grids)
    positions = [sine_positions(*grid, dim, torch.device("cpu"), torch.float32) for grid in grids]
    return PackedTokens(random(sum(lengths), dim, seed=seed), torch.cat(positions), lengths, grids)


def cells(rows: int, columns: int) -> Tensor:
    """The cell of 2 x 2 of every token, counted row by row."""
    place = torch.arange(rows * columns)
    return place // columns // 2 * ((columns + 1) // 2) + place % columns // 2


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.75])
def test_every_token_is_stood_for_by_one_of_its_cell(grid: tuple[int, int], ratio: float) -> None:
    tokens = tokens_on(grid)
    merged = TokenMerging(ratio)(tokens)
    left, sizes = merged.tokens, merged.tokens.sizes
    assert sizes is not None
    assert left.lengths == (len(left.values),) == (len(left.positions),) == (len(sizes),)
    assert torch.equal(sizes, torch.bincount(merged.stands_for).float())
    assert sizes.sum() == tokens.lengths[0]
    for row in range(len(sizes)):
        assert len(cells(*grid)[merged.stands_for == row].unique()) == 1


@pytest.mark.parametrize("grid", GRIDS)
def test_the_ratio_says_how_many_are_left_unless_targets_alone_are_more(grid: tuple[int, int]) -> None:
    tokens, targets = grid[0] * grid[1], len(cells(*grid).unique())
    for ratio in (0.0, 0.2, 0.5, 0.75):
        left = TokenMerging(ratio)(tokens_on(grid)).tokens.lengths
        assert left == (max(tokens - round(ratio * tokens), targets),)


def test_a_merged_token_is_the_mean_of_values_and_of_positions() -> None:
    tokens = tokens_on((5, 7))
    merged = TokenMerging(0.6)(tokens)
    for before, after in ((tokens.values, merged.tokens.values), (tokens.positions, merged.tokens.positions)):
        means = torch.stack([before[merged.stands_for == row].mean(0) for row in range(len(after))])
        torch.testing.assert_close(after, means)


def test_what_is_left_keeps_its_order_on_the_grid() -> None:
    merged = TokenMerging(0.5)(tokens_on((6, 8)))
    first_member = [int((merged.stands_for == row).nonzero()[0]) for row in range(merged.tokens.lengths[0])]
    assert first_member == sorted(first_member)


def test_the_most_similar_are_merged_first_whatever_their_length() -> None:
    values = torch.eye(4, DIM)
    values[3] = 5 * values[0]  # of the only cell, the last token points where the target does
    tokens = PackedTokens(values, torch.zeros(4, DIM), (4,), ((2, 2),))
    assert TokenMerging(0.25)(tokens).stands_for.tolist() == [0, 1, 2, 0]


def test_an_image_is_merged_as_it_is_alone() -> None:
    merging = TokenMerging(0.6)
    tokens = tokens_on((5, 7), (6, 4), (6, 4))
    together = merging(tokens)
    values, positions = (torch.split(x, list(tokens.lengths)) for x in (tokens.values, tokens.positions))
    alone = [
        merging(PackedTokens(values[i], positions[i], tokens.lengths[i : i + 1], tokens.grids[i : i + 1]))
        for i in range(3)
    ]
    assert torch.equal(together.tokens.values, torch.cat([one.tokens.values for one in alone]))
    assert torch.equal(together.tokens.positions, torch.cat([one.tokens.positions for one in alone]))
    assert together.tokens.lengths == tuple(one.tokens.lengths[0] for one in alone)
    restored = torch.cat([one.restored(one.tokens.values) for one in alone])
    assert torch.equal(together.restored(together.tokens.values), restored)


def test_tokens_without_a_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="lie on a grid"):
        TokenMerging(0.5)(PackedTokens(random(6, DIM), random(6, DIM), (6,)))


def test_gradients_pass_through_means_and_back() -> None:
    tokens = tokens_on((6, 4))
    values = tokens.values.requires_grad_()
    merged = TokenMerging(0.5)(tokens)
    merged.restored(merged.tokens.values).sum().backward()
    torch.testing.assert_close(values.grad, torch.ones_like(values))


@torch.inference_mode()
def test_merging_nothing_is_the_encoder(tiny_detr: Detr) -> None:
    encoder, dim = tiny_detr.transformer.encoder, tiny_detr.config.hidden_dim
    tokens = tokens_on((5, 7), (6, 4), dim=dim)
    encoded = encoder(tokens, ExactAttention(), TokenMerging(0.0))
    expected = encoder(tokens, ExactAttention())
    torch.testing.assert_close(encoded.tokens.values, expected.tokens.values, rtol=1e-3, atol=1e-4)
    assert encoded.merged_lengths == encoded.tokens.lengths == expected.tokens.lengths
    assert encoded.tokens.positions is tokens.positions
    assert expected.merged_lengths is None


@pytest.mark.parametrize("setting", ["merge:ratio=0.75", "merge:ratio=0.75,C=12"])
@torch.inference_mode()
def test_merging_tokens_that_are_equal_changes_nothing(tiny_detr: Detr, setting: str) -> None:
    encoder, dim, grid = tiny_detr.transformer.encoder, tiny_detr.config.hidden_dim, (6, 8)
    values, positions = (random(12, dim, seed=seed)[cells(*grid)] for seed in range(2))
    tokens = PackedTokens(values, positions, (48,), (grid,))
    config = AttentionConfig.parse(setting)
    merged = encoder(tokens, make_attention(config.in_layers), make_merging(config))
    expected = encoder(tokens, ExactAttention())
    torch.testing.assert_close(merged.tokens.values, expected.tokens.values, rtol=1e-3, atol=1e-4)
    assert merged.merged_lengths == (12,)


@torch.inference_mode()
def test_clusters_are_of_what_is_left(tiny_detr: Detr) -> None:
    config = AttentionConfig.merge(0.5, C=4)
    tokens = tokens_on((6, 8), dim=tiny_detr.config.hidden_dim)
    encoded = tiny_detr.transformer.encoder(tokens, make_attention(config.in_layers), make_merging(config))
    assert encoded.merged_lengths == (24,)
    assert encoded.cluster_counts is not None
    assert 1 <= int(encoded.cluster_counts.min()) <= int(encoded.cluster_counts.max()) <= 4
    assert encoded.tokens.values.shape == tokens.values.shape


def test_finding_what_is_alike_costs_little() -> None:
    assert matching_multiply_adds(2508, 128) == 3 * 627 * 128
