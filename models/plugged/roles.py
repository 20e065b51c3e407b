"""Which attention modules of a model are self-attention of an encoder: told by their place in the model.

A module's class does not tell: in DETR, encoder and decoder use the same one, with the same configuration. The
modules around it do. The innermost name with "encoder" or "decoder" in it, of an attribute or a class, decides, except
that attention beside a cross-attention, in one layer, is a decoder's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, Literal

from torch import nn

Role = Literal["encoder", "other"]

CROSS_NAMES: Final = ("encoder_attn", "encoder_attention", "encoder_decoder_attention")
"""Attributes that hold cross-attention in models whose class names do not say so."""


def role_by_place(name: str, modules: dict[str, nn.Module]) -> Role | None:
    """The role of the attention module modules[name]; None where no name tells.

    `modules` are all named modules of a model, the model itself having an empty name.
    """
    own = name.rpartition(".")[2]
    if _is_cross(own, modules[name]) or _beside_cross(name, modules):
        return "other"
    for parent in outwards(name):
        words = f"{parent.rpartition('.')[2]} {type(modules[parent]).__name__}".lower()
        encoder, decoder = "encoder" in words, "decoder" in words
        if encoder != decoder:
            return "encoder" if encoder else "other"
    return None


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


def _is_cross(attribute: str, module: nn.Module) -> bool:
    """Whether the names of an attention module say that it attends to something other than its own queries."""
    return attribute in CROSS_NAMES or "cross" in f"{attribute} {type(module).__name__}".lower()


def _beside_cross(name: str, modules: dict[str, nn.Module]) -> bool:
    """Whether the layer that modules[name] is part of, a member of a list, has a cross-attention."""
    layer = next((parent for parent in outwards(name) if parent.rpartition(".")[2].isdigit()), None)
    return layer is not None and any(
        _is_cross(path.rpartition(".")[2], module) for path, module in modules[layer].named_modules() if path
    )
