"""Times of an encoder with exact and with approximate attention on this device, for `auto` to choose by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Final, cast

import torch
from torch import Tensor

from models.attention.auto import EXACT, AttentionTimes
from models.attention.factory import make_attention, make_merging
from models.attention.strategy import Attended, AttentionStrategy, SizedStrategy
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detr.encoder import EncoderLayer
from models.images import PackedTokens
from models.measurement.shortest import shortest_times
from models.measurement.timing import clock
from models.measurement.token_counts import spread_counts, token_range

SECONDS: Final = 0.2
"""Time after which no further round begins; the rounds that there have to be may take longer."""
MIN_ROUNDS: Final = 3
MAX_TOKENS: Final = 3000
"""Largest number of tokens to measure at: beyond it, times are extrapolated."""

APART: Final = 100.0
"""Factor between queries that may share a bucket of ordinary width and queries that do not."""

Call = Callable[[], object]


@torch.inference_mode()
def measure_attention_times(
    config: DetrConfig,
    device: torch.device,
    dtype: torch.dtype,
    seconds: Callable[[], float] | None = None,
) -> tuple[AttentionTimes, bool]:
    """Time an encoder layer with exact attention and the model's vouched ones, on made-up tokens and weights.

    All runs on the calling thread and its pool. The shortest of some rounds counts, in which all take turns: other
    programs only ever make a call longer. Merging is timed by itself, since it comes once for all layers. The cost of
    all but ACT follows from shapes alone; ACT gets as many different queries as its C/N says. Returns whether the
    repeats agree, too (`models.measurement.shortest`). `seconds` replaces the device's clock.
    """
    least, largest = (min(tokens, MAX_TOKENS) for tokens in token_range(config))
    counts = spread_counts(least, largest)
    ratios = {EXACT: 1.0} | {one.attention: one.cluster_ratio for one in config.vouched}
    layer = EncoderLayer(config).eval().to(device, dtype)
    calls: dict[tuple[str, AttentionConfig, int], Call] = {}
    for (attention, ratio), tokens in product(ratios.items(), counts):
        given, merging = made_up_tokens(config, tokens, device, dtype), make_merging(attention)
        if merging is not None:
            calls["merging", attention, tokens] = partial(_merge_and_restore, merging, given)
            given = merging(given).tokens
        strategy = _OnOwnInputs(attention, _inputs(config, attention, ratio, len(given.values), device, dtype))
        calls["layer", attention, tokens] = partial(layer, given, strategy)
    shortest = shortest_times(calls, seconds or clock(device), seconds_in_all=SECONDS, least_rounds=MIN_ROUNDS)

    def milliseconds(attention: AttentionConfig, tokens: int) -> float:
        once = shortest.seconds.get(("merging", attention, tokens), 0.0)
        return _rounded(1e3 * (once + config.encoder_layers * shortest.seconds["layer", attention, tokens]))

    rows = {attention: tuple(milliseconds(attention, tokens) for tokens in counts) for attention in ratios}
    return AttentionTimes(counts, rows), shortest.agree


def made_up_tokens(config: DetrConfig, tokens: int, device: torch.device, dtype: torch.dtype) -> PackedTokens:
    """Tokens of one image on a grid of two rows: as many as asked for, or one more."""
    columns = -(-tokens // 2)
    values = torch.randn(2 * columns, config.hidden_dim, generator=torch.Generator().manual_seed(0))
    values = values.to(device, dtype)
    return PackedTokens(values, values, (len(values),), ((2, columns),))


def _merge_and_restore(merging: TokenMerging, tokens: PackedTokens) -> Tensor:
    merged = merging(tokens)
    return merged.restored(merged.tokens.values)


class _OnOwnInputs:
    """A strategy that attends with inputs of its own, whatever a layer projects."""

    def __init__(self, attention: AttentionConfig, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        self._strategy: AttentionStrategy = make_attention(attention.in_layers)
        self._inputs = inputs

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [1, H, N, D] of its own."""
        return self._strategy(*self._inputs)

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """The same with keys of these sizes."""
        return cast("SizedStrategy", self._strategy).attend_sized(*self._inputs, sizes)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """Those of the strategy."""
        return self._strategy.multiply_adds(tokens, heads, head_dim, clusters)


def _inputs(
    config: DetrConfig,
    attention: AttentionConfig,
    cluster_ratio: float,
    tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k, v [1, H, N, D], laid out as a layer's projections are.

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
    q, k, v = (x.view(1, tokens, config.heads, config.head_dim).transpose(1, 2).to(device, dtype) for x in (q, k, v))
    return q, k, v


def _rounded(milliseconds: float) -> float:
    """Round to four digits, never to 0: a clock may be coarser than a call is long."""
    return float(f"{max(milliseconds, 1e-6):.4g}")
