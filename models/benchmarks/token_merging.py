"""Token merging (ToMe, arXiv 2210.09461) around the encoder of a trained DETR, without training.

Every second row's every second token is a target, the others are sources. The sources that are most similar to a
target (cosine) are merged into it: N tokens become M, each the mean of those it stands for, attended to as often as
its size says (proportional attention), and at the end every token gets its group's output back. One image at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from models.attention.factory import make_attention
from models.attention.kmeans import sampled_metric
from models.attention.strategy import Attended, wide_and_contiguous
from models.attention.tangent import Tangents, differentiate, follow
from models.clustering.kmeans import kmeans, spread_start
from models.config import AttentionConfig, DetrConfig
from models.detr.encoder import Encoder, EncoderLayer
from models.detr.multiply_adds import gflops
from models.images import PackedTokens

Where = Literal["once", "layer", "attention"]
Reach = Literal["cell", "global"]
Positions = Literal["mean", "target"]


@dataclass(frozen=True, slots=True)
class Merging:
    """N tokens in M groups: `group` int64 [N] in 0..M-1, `sizes` float [M] sums to N, `target` int64 [M] in 0..N-1."""

    group: Tensor
    sizes: Tensor
    target: Tensor

    def merge(self, tokens: Tensor) -> Tensor:
        """Mean of every group: [N, d] to [M, d]."""
        return (
            tokens.new_zeros(len(self.sizes), tokens.shape[1]).index_add_(0, self.group, tokens) / self.sizes[:, None]
        )

    def unmerge(self, merged: Tensor) -> Tensor:
        """Give every token its group's row: [M, d] to [N, d]."""
        return merged.index_select(0, self.group)


def match(features: Tensor, columns: int, merged: int, reach: Reach) -> Merging:
    """Merge `merged` of the tokens that features [N, d] describe, row by row of a map with `columns` columns.

    A source may merge with the target of its own 2 x 2 cell, or (`global`) with any. Of N tokens about three quarters
    are sources; more cannot be merged.
    """
    place = torch.arange(len(features), device=features.device)
    is_target = (place // columns % 2 == 0) & (place % columns % 2 == 0)
    sources, targets = place[~is_target], place[is_target]
    directions = normalize(features, dim=-1)
    if reach == "cell":
        nearest = sources // columns // 2 * ((columns + 1) // 2) + sources % columns // 2
        similarity = (directions[sources] * directions[targets[nearest]]).sum(-1)
    else:
        similarity, nearest = (directions[sources] @ directions[targets].mT).max(-1)
    order = similarity.argsort(descending=True, stable=True)
    gone, kept = order[:merged], order[merged:]
    group = torch.empty_like(place)
    group[targets] = torch.arange(len(targets), device=place.device)
    group[sources[gone]] = nearest[gone]
    group[sources[kept]] = torch.arange(len(targets), len(targets) + len(kept), device=place.device)
    sizes = torch.bincount(group, minlength=len(targets) + len(kept)).to(features.dtype)
    return Merging(group, sizes, torch.cat((targets, sources[kept])))


@dataclass(frozen=True, slots=True)
class ProportionalAttention:
    """Attention of which every key counts as often as its size says: sizes float [N]. Exact or tangent."""

    config: AttentionConfig
    sizes: Tensor

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q [B, H, M, D] and k, v [B, H, N, D]."""
        bias = self.sizes.log()
        if self.config.mode == "exact":
            return Attended(scaled_dot_product_attention(q, k, v, bias.expand(1, 1, q.shape[-2], -1)))
        q, k, v = (wide_and_contiguous(x) for x in (q, k, v))
        config = self.config
        grouping = kmeans(q, spread_start(q, config.C), config.rounds, sampled_metric(config.metric, k))
        outputs, derivatives = differentiate(grouping.prototypes, k, v, bias)
        own = torch.arange(outputs.shape[-2], device=q.device).expand(outputs.shape[:-1])
        return Attended(follow(Tangents(outputs, derivatives, own), grouping, q), grouping.clusters.counts)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """As without sizes."""
        return make_attention(self.config).multiply_adds(tokens, heads, head_dim, clusters)


@dataclass(frozen=True, slots=True)
class MergeSetting:
    """How an encoder merges: the share `ratio` of its tokens, 0..0.75, with `attention`, exact or tangent.

    `once`: before the first layer, until after the last, by the features that enter. Inside each layer, by its keys:
    `layer` merges for attention and feed-forward, and adds the change to every token; `attention` only for attention.
    A merged token has the mean position encoding of its group, or its target's. Without `proportional`, a group counts
    once.
    """

    where: Where
    reach: Reach
    ratio: float
    attention: AttentionConfig = field(default_factory=AttentionConfig.exact)
    positions: Positions = "mean"
    proportional: bool = True

    @classmethod
    def parse(cls, text: str, config: DetrConfig) -> MergeSetting:
        """Read `once-cell-0.5`, with `-target` or `-once-each` behind it, and `+tangent:C=16` at the end.

        Raises ValueError for anything else.
        """
        name, _, attention = text.partition("+")
        where, reach, ratio, *more = *name.split("-", 3), "", ""
        known = where in get_args(Where) and reach in get_args(Reach)
        if not known or not ratio or more[0] not in ("", "target", "once-each"):
            raise ValueError(f"{text!r} is no setting of token merging")
        setting = cls(
            cast("Where", where),
            cast("Reach", reach),
            float(ratio),
            config.attention(attention or "exact"),
            "target" if more[0] == "target" else "mean",
            more[0] != "once-each",
        )
        whole_tangent = setting.attention.mode == "tangent" and setting.attention.expansion_points is None
        if not 0 <= setting.ratio <= 0.75 or not (whole_tangent or setting.attention.mode == "exact"):
            raise ValueError(f"{text!r} merges more than three quarters, or attends neither exactly nor by tangents")
        return setting

    def merge(self, tokens: PackedTokens, features: Tensor, columns: int) -> Merging:
        """Match the tokens of one image by features [N, d]."""
        return match(features, columns, round(self.ratio * len(tokens.values)), self.reach)

    def shortened(self, tokens: PackedTokens, merging: Merging) -> PackedTokens:
        """Tokens [N, d] to groups [M, d]."""
        positions = tokens.positions
        positions = merging.merge(positions) if self.positions == "mean" else positions[merging.target]
        return PackedTokens(merging.merge(tokens.values), positions, (len(merging.sizes),))

    def strategy(self, merging: Merging) -> ProportionalAttention:
        """Attention among the groups."""
        sizes = merging.sizes if self.proportional else torch.ones_like(merging.sizes)
        return ProportionalAttention(self.attention, sizes)


def encode_merged(encoder: Encoder, tokens: PackedTokens, columns: int, setting: MergeSetting) -> PackedTokens:
    """Run the encoder on one image's tokens [N, d], merged on the way; the result has N tokens again.

    `columns` is the width of the token grid. Raises ValueError for an encoder with norm before.
    """
    if encoder.norm is not None:
        raise ValueError("merging is written for an encoder with norm after")
    if setting.where == "once":
        merging = setting.merge(tokens, tokens.values, columns)
        merged, attend = setting.shortened(tokens, merging), setting.strategy(merging)
        for layer in encoder.layers:
            merged, _ = layer(merged, attend)
        return tokens.with_values(merging.unmerge(merged.values))
    run_layer = _whole_layer if setting.where == "layer" else _attention_only
    for layer in cast("Iterable[EncoderLayer]", encoder.layers):
        (keys,) = layer.self_attn.project(tokens.values + tokens.positions, 1, 2)
        merging = setting.merge(tokens, keys.view(len(keys), layer.self_attn.heads, -1).mean(1), columns)
        tokens = tokens.with_values(run_layer(layer, tokens, merging, setting))
    return tokens


def _whole_layer(layer: EncoderLayer, tokens: PackedTokens, merging: Merging, setting: MergeSetting) -> Tensor:
    merged = setting.shortened(tokens, merging)
    after, _ = layer(merged, setting.strategy(merging))
    return tokens.values + merging.unmerge(after.values - merged.values)


def _attention_only(layer: EncoderLayer, tokens: PackedTokens, merging: Merging, setting: MergeSetting) -> Tensor:
    attended, _ = layer.self_attn.attend_packed(setting.shortened(tokens, merging), setting.strategy(merging))
    x: Tensor = layer.norm1(tokens.values + merging.unmerge(attended))
    normed: Tensor = layer.norm2(x + layer.feed_forward(x))
    return normed


def merged_gflops(config: DetrConfig, setting: MergeSetting, tokens: int) -> float:
    """Giga multiply-adds of the encoder for one image of `tokens` tokens, matching included."""
    merged = tokens - round(setting.ratio * tokens)
    targets = tokens // 4
    pairs = (tokens - targets) * (targets if setting.reach == "global" else 1)
    attend = make_attention(setting.attention)
    cost = gflops(config, attend, merged, [0] * config.encoder_layers)
    if setting.where == "once":
        return cost.encoder + pairs * config.hidden_dim / 1e9
    matching = config.encoder_layers * (pairs * config.head_dim + tokens * config.hidden_dim**2) / 1e9
    feed_forward = config.encoder_layers * 2 * config.hidden_dim * config.feedforward_dim / 1e9
    unmerged = (tokens - merged) * feed_forward if setting.where == "attention" else 0.0
    return cost.encoder + matching + unmerged
