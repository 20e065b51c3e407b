"""One layer's clustered attention, as plugged modules of every library call it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.plugged.errors import CannotCluster, RecomputedElsewhere
from models.plugged.graph import outside_graph
from models.plugged.marks import PADDING_READ, own_settings
from models.plugged.padding import attend_kept
from models.plugged.settings import AttentionRun, settings_here
from models.precision import at_least_float32

_LAST_TRAINED: WeakKeyDictionary[nn.Module, AttentionConfig] = WeakKeyDictionary()
"""Settings of each module's last forward pass in training."""


def attend_clustered(
    module: nn.Module,
    qkv: Sequence[Tensor],
    attention: AttentionConfig,
    run: AttentionRun | None,
    kept: Tensor | None = None,
    scaling: float | None = None,
) -> Tensor:
    """Attend with projected q, k, v [B, H, N, D] as `attention` says, and report to `run`: values [B, H, N, D].

    `kept` bool [B or 1, N] is False for padding, see `attend_kept`; None: there is none. `scaling` multiplies the
    logits, 1/sqrt(D) if None. Autocast ends here: clusters are found in float32, whatever type q, k and v have.
    """
    q, k, v = qkv
    strategy = make_attention(attention) if run is None or run.strategy is None else run.strategy
    padding_read = getattr(module, PADDING_READ, False)
    with torch.autocast(q.device.type, enabled=False):
        attended = attend_kept(strategy, rescaled(q, scaling), k, v, kept, padding_read)
    if run is not None:
        run.record(attended.cluster_counts, attended.tokens)
    return attended.values


@outside_graph
def is_clustered(module: nn.Module) -> bool:
    """Whether a plugged module attends by `attend_clustered` now, by its own settings or those around the call."""
    return attends_itself(*plugged_settings(module))


def attends_itself(attention: AttentionConfig, run: AttentionRun | None) -> bool:
    """Whether `attend_clustered` attends for a module, not the module's own library: not where attention is exact."""
    return attention.mode != "exact" or (run is not None and run.strategy is not None)


@outside_graph
def attend_plugged(module: nn.Module, qkv: Sequence[Tensor], kept: Tensor | None) -> Tensor:
    """`attend_clustered` by the settings of a plugged module, or those around the call."""
    return attend_clustered(module, qkv, *plugged_settings(module), kept)


def refuse(module: nn.Module, reason: str) -> NoReturn:
    """Raise CannotCluster for a plugged module, `reason` being the end of the sentence."""
    raise CannotCluster(f"{plugged_settings(module)[0]} is plugged into a {type(module).__name__}, but {reason}")


def settings_of(module: nn.Module, own: AttentionConfig) -> tuple[AttentionConfig, AttentionRun | None]:
    """The settings of a module's call, `own` or those around it, and where to report.

    Gradient checkpointing calls a module again in the backward pass, which may run outside of the `with` that the
    forward pass was in, or in another thread. Such a call reports nothing. Raises RecomputedElsewhere where its
    settings differ: gradients would be those of another computation.
    """
    attention, run = settings_here(own)
    if not torch.is_grad_enabled() and not module.training:
        return attention, run
    if torch._C._current_graph_task_id() == -1:
        _LAST_TRAINED[module] = attention
        return attention, run
    forward = _LAST_TRAINED.get(module, attention)
    if forward != attention:
        raise RecomputedElsewhere(
            f"gradient checkpointing recomputes with {attention} what was computed with {forward}: give the settings"
            " to plug_into, which hold everywhere, instead of to attention_settings"
        )
    return attention, None


def plugged_settings(module: nn.Module) -> tuple[AttentionConfig, AttentionRun | None]:
    """`settings_of` a module that `plug_into` gave settings."""
    return settings_of(module, own_settings(module) or AttentionConfig.exact())


def rescaled(q: Tensor, scaling: float | None) -> Tensor:
    """Queries [..., D] whose logits, which strategies divide by sqrt(D), come out multiplied by `scaling`."""
    factor = 1.0 if scaling is None else scaling * q.shape[-1] ** 0.5
    return q if math.isclose(factor, 1, rel_tol=1e-9) else (at_least_float32(q) * factor).to(q.dtype)
