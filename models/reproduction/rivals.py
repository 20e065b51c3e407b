"""Which kinds of attention are compared: settings that cost alike, from a model's own queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from models.config import MAX_CLUSTERS, AttentionConfig
from models.evaluation.attention_inputs import AttentionInputs
from models.tuning.bucket_width import bucket_widths

PUBLISHED_ROUNDS = (32, 24, 20, 16)
PUBLISHED_WIDTH = 8.0


@dataclass(frozen=True, slots=True)
class Grid:
    """What is varied. Ratios are of clusters to tokens; `seeds`, how many hash seeds or starts of K-means."""

    rounds: tuple[int, ...] = PUBLISHED_ROUNDS
    ratios: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.6, 0.75)
    key_ratios: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5)
    kmeans_ratios: tuple[float, ...] = (0.2, 0.5)
    clusters: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    few_centres: int = 16
    seeds: int = 3
    kmeans: bool = True

    def quick(self) -> Grid:
        """The same kinds, fewer of each."""
        return replace(
            self, rounds=(16,), ratios=(0.2, 0.5), key_ratios=(0.2,), kmeans_ratios=(0.5,), clusters=(8, 32), seeds=1
        )

    def large(self) -> Grid:
        """For many tokens, where each answer takes long: one seed, fewer of what costs as much as exact attention."""
        return replace(self, rounds=(32, 16), ratios=(0.1, 0.2, 0.35, 0.6), kmeans_ratios=(0.2,), seeds=1)

    def distilled(self) -> Grid:
        """For many tokens after distillation: ACT and tangent attention where the targets are."""
        return replace(self, rounds=(16,), ratios=(0.2, 0.6), key_ratios=(), clusters=(4, 8, 16), seeds=1, kmeans=False)


def rivals(layers: Sequence[AttentionInputs], grid: Grid) -> tuple[AttentionConfig, ...]:
    """Exact attention, ACT, K-means and tangent attention, each once; `layers` are to find ACT's r on."""
    kinds = (
        iter((AttentionConfig.exact(),)),
        act_settings(layers, grid),
        key_aware_act_settings(layers, grid),
        kmeans_settings(layers[0].tokens, grid) if grid.kmeans else (),
        tangent_settings(layers[0].tokens, grid),
    )
    return tuple(dict.fromkeys(attention for kind in kinds for attention in kind))


def act_settings(layers: Sequence[AttentionInputs], grid: Grid) -> Iterator[AttentionConfig]:
    """The paper's ACT: every L with r for each ratio, and as published; the fewest rounds with every seed."""
    for rounds in grid.rounds:
        widths = bucket_widths(layers, rounds, grid.ratios)
        for seed in range(grid.seeds if rounds == min(grid.rounds) else 1):
            yield from (AttentionConfig.act(rounds, r, seed) for r in widths)
        yield AttentionConfig.act(rounds, PUBLISHED_WIDTH)


def key_aware_act_settings(layers: Sequence[AttentionInputs], grid: Grid) -> Iterator[AttentionConfig]:
    """ACT that hashes queries in the metric of the keys."""
    rounds = min(grid.rounds)
    for r in bucket_widths(layers, rounds, grid.key_ratios, "key"):
        yield from (AttentionConfig.act(rounds, r, seed, metric="key") for seed in range(grid.seeds))


def kmeans_settings(tokens: int, grid: Grid) -> Iterator[AttentionConfig]:
    """K-means with few clusters, and with as many as ACT's ratios stand for; in both metrics, every seed on queries."""
    numbers = [*grid.clusters, *(round(ratio * tokens) for ratio in grid.kmeans_ratios)]
    for C in _possible(numbers, tokens):
        yield from (AttentionConfig.kmeans(C, seed=seed) for seed in range(grid.seeds))
        yield AttentionConfig.kmeans(C, metric="key")


def tangent_settings(tokens: int, grid: Grid) -> Iterator[AttentionConfig]:
    """Tangent attention with a tangent a cluster, and with few tangents shared."""
    for C in _possible(grid.clusters, tokens):
        yield AttentionConfig.tangent(C)
        if 2 * grid.few_centres < C:
            yield AttentionConfig.tangent(C, expansion_points=grid.few_centres)


def family(attention: AttentionConfig) -> str:
    """The name under which settings are one line of a plot."""
    if attention.mode == "act":
        return "ACT, key-aware" if attention.metric == "key" else f"ACT, L = {attention.L}"
    if attention.mode == "kmeans":
        return "K-means, key-aware" if attention.metric == "key" else "K-means"
    if attention.mode == "tangent":
        shared = attention.expansion_points is not None and attention.expansion_points < attention.C
        return f"tangent, {attention.expansion_points} centres" if shared else "tangent"
    return "exact"


def _possible(numbers: Sequence[int], tokens: int) -> list[int]:
    return sorted({min(C, tokens, MAX_CLUSTERS) for C in numbers if C >= 1})
