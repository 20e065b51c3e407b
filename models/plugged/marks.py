"""What is noted on attention modules: their role, and the settings that somebody plugged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from models.config import AttentionConfig
from models.plugged.roles import Role, outwards, role_by_place

ROLE: Final = "attention_role"
"""Attribute of an attention module with its `Role`: plain text, so that a saved module loads without act-detr."""
OWN: Final = "plugged_attention"
"""Attribute of an attention module with its settings, an AttentionConfig, after `plug_into`."""


def mark_roles(
    root: nn.Module, attends: Callable[[nn.Module], bool], is_model: Callable[[nn.Module], bool]
) -> dict[str, nn.Module]:
    """Note the role of every module of `root` that `attends`; returns those that are an encoder's, by name.

    Where no name tells, attention within a module that `is_model`, a whole model, is an encoder's: models of one stack
    often do not name it. Elsewhere it stays unmarked.
    """
    modules = dict(root.named_modules())
    encoder: dict[str, nn.Module] = {}
    for name, module in modules.items():
        if not attends(module):
            continue
        role: Role | None = role_by_place(name, modules)
        if role is None and any(is_model(modules[parent]) for parent in outwards(name)):
            role = "encoder"
        if role is not None:
            setattr(module, ROLE, role)
        if role == "encoder":
            encoder[name] = module
    return encoder


def own_settings(module: nn.Module) -> AttentionConfig | None:
    """The settings that `plug_into` gave a module, or None."""
    own: AttentionConfig | None = getattr(module, OWN, None)
    return own
