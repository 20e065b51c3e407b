"""Which attention modules of a model are self-attention of an encoder: told by their place in the model.

A module's class does not tell: in DETR, encoder and decoder use the same one, with the same configuration. The
modules around it do. The innermost name with "encoder" or "decoder" in it, of an attribute or a class, decides, except
that attention beside a cross-attention, in one layer, is a decoder's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Final, Literal

from torch import nn

Role = Literal["encoder", "other"]

CROSS_NAMES: Final = ("encoder_attn", "encoder_attention", "encoder_decoder_attention")
"""Attributes that hold cross-attention in models whose class names do not say so."""


def attention_roles(
    root: nn.Module, attends: Callable[[nn.Module], bool], is_model: Callable[[nn.Module], bool]
) -> dict[str, Role]:
    """The role of every module of `root` that `attends`, by its name in `root`.

    Where no name tells, attention within a whole model (`is_model`) is an encoder's: a model that has one stack of
    layers does not name it. Attention outside of whole models whose names do not tell is left out. A backbone's counts
    only where there is no other encoder.
    """
    modules = dict(root.named_modules())
    roles: dict[str, Role] = {}
    for name, module in modules.items():
        if not attends(module):
            continue
        role = _role_by_names(name, modules)
        if role is not None:
            roles[name] = role
        elif any(is_model(modules[parent]) for parent in outwards(name)):
            roles[name] = "encoder"
    encoder = [name for name, role in roles.items() if role == "encoder"]
    in_backbone = [name for name in encoder if "backbone" in name.split(".")]
    return roles | dict.fromkeys(in_backbone, "other") if len(in_backbone) < len(encoder) else roles


def outwards(name: str) -> Iterator[str]:
    """The name of a module and those of its parents, innermost first; the model's own is empty."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""


def outermost_caller(module: nn.Module) -> nn.Module:
    """The outermost module that is being called on this thread and contains `module`; itself if there is none.

    Read from the call stack, where every module that is being called is the `self` of a frame.
    """
    found, frame = module, sys._getframe(1)
    seen = {id(module)}
    while frame:
        caller = frame.f_locals.get("self")
        if isinstance(caller, nn.Module) and id(caller) not in seen:
            seen.add(id(caller))
            if any(one is found for one in caller.modules()):
                found = caller
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _role_by_names(name: str, modules: dict[str, nn.Module]) -> Role | None:
    if _is_cross(name, modules[name]) or _beside_cross(name, modules):
        return "other"
    for parent in outwards(name):
        words = f"{parent.rpartition('.')[2]} {type(modules[parent]).__name__}".lower()
        encoder, decoder = "encoder" in words, "decoder" in words
        if encoder != decoder:
            return "encoder" if encoder else "other"
    return None


def _is_cross(name: str, module: nn.Module) -> bool:
    """Whether the names of a module say that it attends to something other than its own queries."""
    attribute = name.rpartition(".")[2]
    return attribute in CROSS_NAMES or "cross" in f"{attribute} {type(module).__name__}".lower()


def _beside_cross(name: str, modules: dict[str, nn.Module]) -> bool:
    """Whether the layer that modules[name] is part of, a member of a list, has a cross-attention."""
    layer = next((parent for parent in outwards(name) if parent.rpartition(".")[2].isdigit()), None)
    return layer is not None and any(_is_cross(*inner) for inner in modules[layer].named_modules() if inner[0])
