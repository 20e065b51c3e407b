"""The attention settings that are compared: exact, ACT, K-means, tangent attention and token merging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from models.attention.layer_inputs import AttentionInputs
from models.attention_config import MAX_CLUSTERS, AttentionConfig
from models.tuning.bucket_width import bucket_widths

PUBLISHED_L: Final = (32, 24, 20, 16)
PUBLISHED_R: Final = 8.0


@dataclass(frozen=True, slots=True)
class SweepGrid:
    """The values that are varied. Ratios are of clusters to tokens; `seeds`: number of hash seeds or K-means starts.

    `merging`: the share of the tokens that is merged away, and the C of tangent attention among those that are left; 0:
    exact attention.
    """

    rounds: tuple[int, ...] = PUBLISHED_L
    ratios: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.6, 0.75)
    key_ratios: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5)
    kmeans_ratios: tuple[float, ...] = (0.2, 0.5)
    clusters: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    expansion_points: int = 16
    merging: tuple[tuple[float, int], ...] = ((0.25, 0), (0.5, 0), (0.75, 0), (0.5, 16))
    seeds: int = 3

    def quick(self) -> SweepGrid:
        """Return the same modes with fewer settings of each."""
        return replace(
            self,
            rounds=(16,),
            ratios=(0.2, 0.5),
            key_ratios=(0.2,),
            kmeans_ratios=(),
            clusters=(8, 32),
            merging=((0.5, 0), (0.5, 16)),
            seeds=1,
        )

    def large(self) -> SweepGrid:
        """Return a grid for many tokens: one seed, and few of the settings that cost as much as exact attention."""
        return replace(
            self,
            rounds=(32, 16),
            ratios=(0.1, 0.2, 0.35, 0.6),
            kmeans_ratios=(),
            clusters=(4, 8, 16, 32, 64),
            seeds=1,
        )


def attention_settings(layers: Sequence[AttentionInputs], grid: SweepGrid) -> tuple[AttentionConfig, ...]:
    """Return exact attention first, then ACT, K-means, tangent attention and token merging, each setting once.

    `layers`: attention inputs on which ACT's r are chosen.
    """
    tokens = layers[0].tokens
    clustered = (_act(layers, grid), _key_aware_act(layers, grid), _kmeans(tokens, grid), _tangent(tokens, grid))
    merging = (AttentionConfig.merge(ratio, C) for ratio, C in grid.merging)
    return tuple(dict.fromkeys(chain([AttentionConfig.exact()], *clustered, merging)))


def family(attention: AttentionConfig | str) -> str:
    """Return the name under which settings are one line of a plot."""
    if isinstance(attention, str):
        attention = AttentionConfig.parse(attention)
    if attention.mode == "act":
        return f"ACT, L = {attention.L}" if attention.metric == "query" else f"ACT, {attention.metric}-aware"
    if attention.mode == "kmeans":
        return "K-means" if attention.metric == "query" else f"K-means, {attention.metric}-aware"
    if attention.mode == "tangent" and attention.expansion_points not in (None, attention.C):
        return f"tangent, {attention.expansion_points} expansion points"
    if attention.mode == "merge":
        return "merging and tangent" if attention.C else "merging"
    return attention.mode


def _act(layers: Sequence[AttentionInputs], grid: SweepGrid) -> Iterator[AttentionConfig]:
    """The paper's ACT: every L with the r for each ratio, and the published r; the smallest L with every seed."""
    for rounds in grid.rounds:
        widths = bucket_widths(layers, rounds, grid.ratios)
        for seed in range(grid.seeds if rounds == min(grid.rounds) else 1):
            yield from (AttentionConfig.act(rounds, r, seed) for r in widths)
        yield AttentionConfig.act(rounds, PUBLISHED_R)


def _key_aware_act(layers: Sequence[AttentionInputs], grid: SweepGrid) -> Iterator[AttentionConfig]:
    """ACT that hashes queries in the metric of the keys."""
    rounds = min(grid.rounds)
    for r in bucket_widths(layers, rounds, grid.key_ratios, "key"):
        yield from (AttentionConfig.act(rounds, r, seed, metric="key") for seed in range(grid.seeds))


def _kmeans(tokens: int, grid: SweepGrid) -> Iterator[AttentionConfig]:
    """K-means with few clusters and with as many as ACT makes; every seed in the metric of the queries."""
    counts = [*grid.clusters, *(round(ratio * tokens) for ratio in grid.kmeans_ratios)]
    for C in _possible(counts, tokens):
        yield from (AttentionConfig.kmeans(C, seed=seed) for seed in range(grid.seeds))
        yield AttentionConfig.kmeans(C, metric="key")


def _tangent(tokens: int, grid: SweepGrid) -> Iterator[AttentionConfig]:
    """Tangent attention with an expansion point for each cluster, and with a few shared ones."""
    for C in _possible(grid.clusters, tokens):
        yield AttentionConfig.tangent(C)
        if 2 * grid.expansion_points < C:
            yield AttentionConfig.tangent(C, expansion_points=grid.expansion_points)


def _possible(counts: Sequence[int], tokens: int) -> list[int]:
    return sorted({min(C, tokens, MAX_CLUSTERS) for C in counts if C >= 1})
