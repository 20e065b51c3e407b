"""The digest that identifies a detector's weights in results."""

from __future__ import annotations

import hashlib

from models.detector import Detector


def weights_digest(detector: Detector) -> str:
    """Return sixteen hex digits of the sha256 of the names, shapes and values of a detector's weights as they run."""
    sha = hashlib.sha256()
    for name, tensor in sorted(detector.network.module.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
