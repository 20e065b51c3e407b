"""Number formats: which one a model runs in, and wider ones where rounding would show."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

AMPERE: Final = (8, 0)
"""Compute capability of the first GPUs that multiply bfloat16 matrices."""


def automatic_precision(device: torch.device) -> Precision:
    """The precision that `auto` stands for: bf16 on GPUs from Ampere on, fp32 elsewhere."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE:
        return "bf16"
    return "fp32"


def at_least_float32(x: Tensor) -> Tensor:
    """X as float32 where its type is narrower; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
