"""Numbers of reduced precision, widened where rounding would show."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """X as float32 where its type is narrower; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
