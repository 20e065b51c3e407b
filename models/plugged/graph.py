"""What torch.compile leaves to Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., object])


def outside_graph(function: Function) -> Function:
    """Keep a function out of what torch.compile compiles: it reads settings, or numbers that tensors hold."""
    compiler: Any = torch.compiler  # has no types
    return cast("Function", compiler.disable(function))
