"""The digest that identifies a detector's weights in results."""

from __future__ import annotations

from models.detector import Detector
from models.weights.digest import state_digest


def weights_digest(detector: Detector) -> str:
    """Return sixteen hex digits of the sha256 of the names, shapes and values of a detector's weights as they run."""
    return state_digest(detector.detr.state_dict())
