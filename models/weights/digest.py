"""The digest that identifies weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return sixteen hex digits of the sha256 of the names, shapes and values of weights."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
