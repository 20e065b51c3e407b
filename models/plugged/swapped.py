"""Attention modules that compute by themselves, and the classes that they have while they are plugged.

A plugged module keeps its parameters, buffers and hooks: only its class changes, to a subclass with another `forward`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from torch import nn

PLUGGED_CLASSES: Final = {
    "torch.nn.modules.activation.MultiheadAttention": "models.plugged.multihead.PluggedMultiheadAttention",
    "transformers.models.table_transformer.modeling_table_transformer.TableTransformerAttention": (
        "models.plugged.table_transformer.PluggedTableTransformerAttention"
    ),
    "transformers.models.dab_detr.modeling_dab_detr.DetrAttention": "models.plugged.dab_detr.PluggedDetrAttention",
}
"""The class of a plugged module, by the class that it had. Imported when needed: not every library is installed."""


def is_swappable(module: nn.Module, plain_torch: bool = True) -> bool:
    """Whether a module has a class that can be plugged, or is plugged already; torch's only if `plain_torch`."""
    kind = type(module)
    return is_swapped(module) or (_path(kind) in PLUGGED_CLASSES and (plain_torch or kind is not nn.MultiheadAttention))


def is_swapped(module: nn.Module) -> bool:
    """Whether a module has the class of a plugged one."""
    return _path(type(module)) in PLUGGED_CLASSES.values()


def why_not_swapped(module: nn.Module) -> str | None:
    """Why a module of a class that can be plugged cannot be, as the end of a sentence; None where it can."""
    if getattr(module, "add_zero_attn", False) or getattr(module, "bias_k", None) is not None:
        return "attends to keys that are no tokens' (add_bias_kv or add_zero_attn)"
    if not getattr(module, "_qkv_same_embed_dim", True):
        return "has keys or values of another width (kdim or vdim)"
    return None


def swap_in(module: nn.Module) -> None:
    """Give a module the plugged class."""
    if not is_swapped(module):
        package, _, name = PLUGGED_CLASSES[_path(type(module))].rpartition(".")
        module.__class__ = getattr(import_module(package), name)


def swap_out(module: nn.Module) -> None:
    """Give a plugged module the class that it had."""
    if is_swapped(module):
        module.__class__ = type(module).__bases__[0]


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
