"""Plugging attention into a model in place, and out again."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from torch import nn

from models.attention_config import AttentionConfig
from models.plugged.errors import CannotPlug
from models.plugged.marks import BEFORE, OWN, forget, mark_roles
from models.plugged.roles import outwards
from models.plugged.settings import read_attention
from models.plugged.swapped import is_swappable, swap_in, swap_out, why_not_swapped

UNFUSED: Final[tuple[tuple[type[nn.Module], str, Any], ...]] = (
    (nn.TransformerEncoderLayer, "activation_relu_or_gelu", 0),
    (nn.TransformerEncoder, "use_nested_tensor", False),
)
"""Attributes without which torch's encoders, in evaluation, compute without calling their attention modules."""
BIASES: Final = ("position_bias", "attention_bias", "rel_pos")
"""In names of parts, of an attention module or of one around it, that add a bias for each pair of query and key."""


def plug_into(model: nn.Module, attention: AttentionConfig | str) -> list[str]:
    """Let the self-attention of a model's encoder attend as `attention` says; returns the names of these modules.

    `attention` is an AttentionConfig or its text form, not exact. Models of transformers and encoders made of
    torch.nn.MultiheadAttention keep their weights and their state dict. A model that is plugged already gets the new
    settings. Raises ValueError for settings that do not exist, CannotPlug for a model without an encoder's
    self-attention that can be clustered.
    """
    attention = read_attention(attention)
    if attention.mode == "exact":
        raise ValueError("exact attention is what a model has: unplug takes out what was plugged in")
    modules = dict(model.named_modules())
    encoder = _encoder_attention(model)
    before = {name: None if is_swappable(one) else _config(one)._attn_implementation for name, one in encoder.items()}
    for name, module in encoder.items():
        setattr(module, OWN, attention)
        if is_swappable(module):
            swap_in(module)
            _keep_from_fusing([modules[parent] for parent in outwards(name)])
        else:
            module.__dict__.setdefault(BEFORE, {"implementation": before[name]})
            _config(module)._attn_implementation_internal = "plugged"
    return list(encoder)


def unplug(model: nn.Module) -> None:
    """Take out what `plug_into` put in: the model computes as before, bit for bit. One without it stays as it is."""
    for module in model.modules():
        for name, value in module.__dict__.get(BEFORE, {}).items():
            if name == "implementation":
                _config(module)._attn_implementation_internal = value
            else:
                setattr(module, name, value)
        swap_out(module)
        forget(module)


def _encoder_attention(model: nn.Module) -> dict[str, nn.Module]:
    """Attention modules of a model's encoder that can be clustered, by name. Raises CannotPlug if there are none."""
    foreign = _is_transformers(model)
    encoder = mark_roles(
        model,
        lambda module: is_swappable(module, plain_torch=not foreign) or _asks_interface(module),
        lambda module: module is model or _is_transformers(module),
    )
    modules = dict(model.named_modules())
    encoder = {
        name: one for name, one in encoder.items() if not _is_biased(modules[parent] for parent in outwards(name))
    }
    if not encoder:
        raise CannotPlug(f"nothing in {type(model).__name__} can be clustered: {_why_nothing(model)}")
    for name, module in encoder.items():
        if reason := why_not_swapped(module):
            raise CannotPlug(f"{name} of {type(model).__name__} cannot be clustered: it {reason}")
    return encoder


def _keep_from_fusing(parents: list[nn.Module]) -> None:
    """Make torch's encoders among `parents` call their attention modules."""
    for parent in parents:
        for kind, name, value in UNFUSED:
            if isinstance(parent, kind) and hasattr(parent, name):
                parent.__dict__.setdefault(BEFORE, {}).setdefault(name, getattr(parent, name))
                setattr(parent, name, value)


def _why_nothing(model: nn.Module) -> str:
    """What kind of attention a model has that has none to cluster, as a sentence without its full stop."""
    if _is_biased(model.modules()):
        return (
            "its attention adds a bias for each pair of a query and a key, so that queries of one cluster would not"
            " attend alike"
        )
    if any("deformable" in type(module).__name__.lower() for module in model.modules()):
        return "its encoder attends to a few sampled points for each query, which leaves nothing to save"
    return "its encoder has no self-attention through transformers' AttentionInterface or torch.nn.MultiheadAttention"


def _is_biased(modules: Iterable[nn.Module]) -> bool:
    """Whether one of the modules has a part of its own that is called as one of `BIASES`."""
    for module in modules:
        children, parameters = module.named_children(), module.named_parameters(recurse=False)
        if any(bias in name for name, _ in (*children, *parameters) for bias in BIASES):
            return True
    return False


def _is_transformers(module: nn.Module) -> bool:
    """Whether a module is a model of transformers. Where transformers was never imported, none is."""
    if "transformers" not in sys.modules:
        return False
    from models.plugged.transformers_attention import is_model

    return is_model(module)


def _asks_interface(module: nn.Module) -> bool:
    """Whether a module of transformers attends by the implementation that its configuration names."""
    if "transformers" not in sys.modules:
        return False
    from models.plugged.transformers_attention import asks_interface

    return asks_interface(module)


def _config(module: nn.Module) -> Any:
    return module.config
