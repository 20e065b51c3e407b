"""Plugging attention into a model in place, and out again."""

from __future__ import annotations

from typing import Any

from torch import nn

from models.config import AttentionConfig
from models.plugged.errors import CannotPlug
from models.plugged.marks import OWN, ROLE, mark_roles
from models.plugged.settings import read_attention

BEFORE = "before_plug"
"""Attribute of a plugged module with what `unplug` restores."""


def plug_into(model: nn.Module, attention: AttentionConfig | str) -> list[str]:
    """Let the self-attention of a model's encoder attend as `attention` says; returns the names of these modules.

    `attention` is an AttentionConfig or its text form, not exact. The model keeps its weights, its classes and its
    state dict. Plugged again, it has the new settings. Raises ValueError for settings that do not exist, CannotPlug for
    a model without an encoder's self-attention that could be clustered.
    """
    attention = read_attention(attention)
    from models.plugged.transformers_attention import asks_interface, is_model

    encoder = mark_roles(model, asks_interface, is_model)
    if not encoder:
        raise CannotPlug(f"{type(model).__name__} has no self-attention of an encoder that could be clustered")
    before = {name: _config(module)._attn_implementation for name, module in encoder.items()}
    for name, module in encoder.items():
        if BEFORE not in module.__dict__:
            setattr(module, BEFORE, before[name])
        setattr(module, OWN, attention)
        _config(module)._attn_implementation_internal = attention.mode
    return list(encoder)


def unplug(model: nn.Module) -> None:
    """Take out again what `plug_into` put in: the model computes as before, bit for bit."""
    for module in model.modules():
        if BEFORE in module.__dict__:
            _config(module)._attn_implementation_internal = getattr(module, BEFORE)
            for name in (BEFORE, OWN, ROLE):
                delattr(module, name)


def _config(module: nn.Module) -> Any:
    return module.config
