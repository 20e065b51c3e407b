"""Clustered attention inside transformers: importing this registers `act`, `kmeans` and `tangent`.

    import models.plugged.transformers_attention
    model = DetrForObjectDetection.from_pretrained(folder, attn_implementation="tangent")

Encoders' self-attention is clustered; all other attention is transformers' own `sdpa`.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

from torch import Tensor, nn

from models.attention_config import AttentionConfig
from models.plugged.clustered import attend_clustered, attends_itself, plugged_settings, refuse, settings_of
from models.plugged.errors import CannotPlug
from models.plugged.graph import outside_graph
from models.plugged.marks import ROLE, mark_roles, own_settings
from models.plugged.padding import kept_keys
from models.plugged.roles import outermost_caller

try:
    from transformers import MODEL_MAPPING, AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask
except ImportError as error:
    raise ImportError("clustered attention in transformers' models needs: pip install 'transformers>=5.1'") from error

IMPLEMENTATIONS: Final = ("act", "kmeans", "tangent")
"""Names for `attn_implementation`; each is the mode with its own defaults until settings say otherwise."""
PLUGGED: Final = "plugged"
"""The implementation that `plug_into` sets: modules cluster if they have settings of their own, others are exact."""
INTERFACE: Final = "ALL_ATTENTION_FUNCTIONS"
"""Name by which transformers' attention modules look up the implementation."""
FOREIGN_ARGUMENTS: Final = ("position_bias", "softcap", "cache", "sliding_window", "s_aux")
"""Arguments by which attention is no longer softmax attention over all keys."""

_LOGGER = logging.getLogger(__name__)


def attention_forward(
    own: AttentionConfig | None,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **arguments: Any,
) -> tuple[Tensor, Tensor | None]:
    """What transformers calls for the attention of `module`: query, key, value [B, H, N, D] to [B, N, H, D].

    `own` are the implementation's settings, None for `PLUGGED`. Attention that is known not to be an encoder's can be
    compiled with what surrounds it.
    """
    if getattr(module, ROLE, None) == "other" or (own is None and own_settings(module) is None):
        exact: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **arguments
        )
        return exact
    return _encoder_forward(own, module, query, key, value, attention_mask, **arguments)


@outside_graph
def _encoder_forward(
    own: AttentionConfig | None,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **arguments: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of a module that is an encoder's, or may be. Raises CannotCluster where it is plugged."""
    exact = partial(sdpa_attention_forward, module, query, key, value, attention_mask, **arguments)
    attention, run = settings_of(module, own) if own is not None else plugged_settings(module)
    if not attends_itself(attention, run) or not is_encoder(module):
        return exact()
    if not query.shape == key.shape == value.shape:
        _say_once(type(module).__name__, "its queries, keys and values differ in shape")
        return exact()
    kept = kept_keys(attention_mask) if attention_mask is not None else None
    reason = why_exact(module, **arguments)
    if attention_mask is not None and kept is None:
        reason = "its mask does more than hide padding"
    if reason is not None:
        if own is None:
            refuse(module, reason)
        _say_once(type(module).__name__, reason)
        return exact()
    values = attend_clustered(module, (query, key, value), attention, run, kept, arguments.get("scaling"))
    return values.transpose(1, 2).contiguous(), None


def why_exact(module: nn.Module, dropout: float = 0.0, is_causal: bool | None = None, **arguments: Any) -> str | None:
    """Why the attention of a module must be exact, as the end of a sentence; None where it can be clustered."""
    if getattr(module, "is_causal", True) if is_causal is None else is_causal:
        return "it is causal: plug into the part of the model that is not"
    if dropout > 0:
        return f"it has dropout {dropout:g} in training, which clusters do not have: set it to 0"
    for name, argument in arguments.items():
        if argument is not None and (name in FOREIGN_ARGUMENTS or isinstance(argument, Tensor)):
            return f"it is called with {name}"
    return None


def is_encoder(module: nn.Module) -> bool:
    """Whether an attention module is an encoder's self-attention.

    A module that nothing is known of is looked up in the model that is being called, all of whose attention is marked
    then. A module that is called without its model stays exact.
    """
    if not hasattr(module, ROLE):
        mark_roles(outermost_caller(module), asks_interface, is_model)
        if not hasattr(module, ROLE):
            _say_once(type(module).__name__, "it is called outside of its model, whose encoder it may not be part of")
    return getattr(module, ROLE, None) == "encoder"


def asks_interface(module: nn.Module) -> bool:
    """Whether a module attends by the implementation that its configuration names."""
    return _names_interface(type(module).forward)


@cache
def _names_interface(forward: Callable[..., object]) -> bool:
    code = getattr(inspect.unwrap(forward), "__code__", None)
    return code is not None and INTERFACE in code.co_names


def is_model(module: nn.Module) -> bool:
    """Whether a module is a whole model of transformers."""
    return isinstance(module, PreTrainedModel)


def padding_mask(**arguments: Any) -> Tensor | None:
    """What transformers calls to make a mask: as for sdpa, bool [B, 1, N, N], True where a query may look at a key.

    A mask that hides only padding is a view with one row for all queries, which is how it is told from others without
    reading N² values. Raises CannotPlug for a model that would not ask for clustered attention.
    """
    config = arguments.get("config")
    if config is not None and type(config) not in _ASKING:
        _check_asks(type(config))
    queries = arguments.get("q_length")
    plain = arguments.get("mask_function") is bidirectional_mask_function and not arguments.get("use_vmap")
    if queries is None or not plain:
        mask: Tensor | None = sdpa_mask(**arguments)
        return mask
    mask = sdpa_mask(**{**arguments, "q_length": 1})
    return None if mask is None else mask.expand(-1, -1, queries, -1)


_ASKING: Final[set[type]] = set()
"""Classes of configurations whose models were found to ask for the implementation."""


@outside_graph
def _check_asks(config: type) -> None:
    kind = MODEL_MAPPING.get(config, None)
    if isinstance(kind, type) and not hasattr(sys.modules[kind.__module__], INTERFACE):
        raise CannotPlug(
            f"transformers computes the attention of {kind.__name__} by itself and would not cluster it: load it with"
            " attn_implementation='eager', then call models.plugged.plug_into"
        )
    _ASKING.add(config)


@cache
def _say_once(kind: str, reason: str) -> None:
    _LOGGER.warning("attention of %s is exact: %s", kind, reason)


def register() -> None:
    """Make the implementations known to transformers."""
    for name in IMPLEMENTATIONS:
        AttentionInterface.register(name, partial(attention_forward, getattr(AttentionConfig, name)()))
    AttentionInterface.register(PLUGGED, partial(attention_forward, None))
    for name in (*IMPLEMENTATIONS, PLUGGED):
        AttentionMaskInterface.register(name, padding_mask)


register()
