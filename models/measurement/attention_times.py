"""Times of exact and approximate attention on this device, for `auto` to choose by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Final

import torch
from torch import Tensor

from models.attention.auto import EXACT, AttentionTimes
from models.attention.factory import make_attention
from models.attention.strategy import AttentionStrategy
from models.config import AttentionConfig, DetrConfig
from models.measurement.shortest import shortest_times
from models.measurement.timing import clock
from models.measurement.token_counts import spread_counts, token_range

SECONDS: Final = 0.2
"""Time after which no further round begins; the rounds that there have to be may take longer."""
MIN_ROUNDS: Final = 3
MAX_TOKENS: Final = 4500
"""Largest number of tokens to measure at: beyond it, times are extrapolated."""

APART: Final = 100.0
"""Factor between queries that may share a bucket of ordinary width and queries that do not."""


@torch.inference_mode()
def measure_attention_times(
    config: DetrConfig,
    device: torch.device,
    dtype: torch.dtype,
    seconds: Callable[[], float] | None = None,
) -> tuple[AttentionTimes, bool]:
    """Time exact attention and the model's vouched ones on made-up tokens, on the calling thread and its pool.

    The shortest of some rounds counts, in which all take turns: other programs only ever make a call longer. The cost
    of exact and tangent attention follows from shapes alone; ACT gets as many different queries as its C/N says.
    Returns whether the repeats agree, too (`models.measurement.shortest`). `seconds` replaces the device's clock.
    """
    least, largest = (min(tokens, MAX_TOKENS) for tokens in token_range(config))
    counts = spread_counts(least, largest)
    ratios = {EXACT: 1.0} | {one.attention: one.cluster_ratio for one in config.vouched}
    calls = {
        (attention, tokens): _call(config, attention, ratio, tokens, device, dtype)
        for (attention, ratio), tokens in product(ratios.items(), counts)
    }
    shortest = shortest_times(calls, seconds or clock(device), seconds_in_all=SECONDS, least_rounds=MIN_ROUNDS)
    in_milliseconds = 1e3 * config.encoder_layers
    milliseconds = {
        attention: tuple(_rounded(shortest.seconds[attention, tokens] * in_milliseconds) for tokens in counts)
        for attention in ratios
    }
    return AttentionTimes(counts, milliseconds), shortest.agree


def _call(
    config: DetrConfig,
    attention: AttentionConfig,
    cluster_ratio: float,
    tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Callable[[], object]:
    q, k, v = (x.to(dtype) for x in _inputs(config, attention, cluster_ratio, tokens, device))
    return partial(_attend, make_attention(attention), q, k, v)


def _inputs(
    config: DetrConfig, attention: AttentionConfig, cluster_ratio: float, tokens: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Return float32 q, k, v [1, H, N, D], laid out as a layer's projections are.

    For ACT, N * `cluster_ratio` queries differ, by so much that no bucket is wide enough for two of them.
    """
    generator = torch.Generator().manual_seed(0)
    queries_and_keys = torch.randn(1, tokens, 2 * config.hidden_dim, generator=generator)
    q, k = queries_and_keys.tensor_split(2, -1)
    if attention.mode == "act":
        different = max(1, round(tokens * cluster_ratio))
        q.copy_(q[:, torch.arange(tokens) % different] * APART)
        k.div_(APART)
    v = torch.randn(1, tokens, config.hidden_dim, generator=generator)
    return tuple(x.view(1, tokens, config.heads, config.head_dim).transpose(1, 2).to(device) for x in (q, k, v))


def _attend(attention: AttentionStrategy, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v).values.transpose(1, 2).flatten(2)


def _rounded(milliseconds: float) -> float:
    """Round to four digits, never to 0: a clock may be coarser than a call is long."""
    return float(f"{max(milliseconds, 1e-6):.4g}")
