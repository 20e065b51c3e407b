"""What is noted on attention modules: their role, and what was plugged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from models.attention_config import AttentionConfig
from models.plugged.roles import attention_roles

ROLE: Final = "attention_role"
"""Attribute with a `Role`: plain text, so that a module that is saved as a whole loads without act-detr."""
OWN: Final = "plugged_attention"
"""Attribute with the AttentionConfig that `plug_into` gave a module."""
PADDING_READ: Final = "padding_read"
"""Attribute that is True where a part of the model reads what an encoder makes of padding."""
BEFORE: Final = "before_plug"
"""Attribute with what `unplug` restores."""

MASK_HEAD: Final = "mask_head"
"""What DETRs for segmentation call the part that convolves the encoder's output, padding and all."""


def mark_roles(
    root: nn.Module, attends: Callable[[nn.Module], bool], is_model: Callable[[nn.Module], bool]
) -> dict[str, nn.Module]:
    """Note the role of every module of `root` that `attends` (see `attention_roles`); returns an encoder's, by name."""
    modules = dict(root.named_modules())
    padding_read = any(name.rpartition(".")[2] == MASK_HEAD for name in modules)
    encoder = {}
    for name, role in attention_roles(root, attends, is_model).items():
        setattr(modules[name], ROLE, role)
        if role == "encoder":
            setattr(modules[name], PADDING_READ, padding_read)
            encoder[name] = modules[name]
    return encoder


def own_settings(module: nn.Module) -> AttentionConfig | None:
    """The settings that `plug_into` gave a module, or None."""
    own: AttentionConfig | None = getattr(module, OWN, None)
    return own


def forget(module: nn.Module) -> None:
    """Remove all notes from a module."""
    for name in (ROLE, OWN, PADDING_READ, BEFORE):
        module.__dict__.pop(name, None)
