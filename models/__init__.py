"""DETR with exact, adaptive-clustering (ACT) and tangent attention, usable without the service.

from models import AttentionConfig, load_detector
detector = load_detector()
prediction = detector.detect(image, AttentionConfig.act(L=16, r=8.0))

These names are imported when they are first used: what is light in the package can be had without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from models.attention.auto import AutoAttention, ChosenAttention
    from models.attention_config import AttentionConfig
    from models.config import DetrConfig
    from models.detections import AttentionReport, Detections, LayerClusters, Prediction
    from models.detector import Detector, DeviceOutOfMemory, load_detector
    from models.preprocess import PreparedImage

__all__ = [
    "AttentionConfig",
    "AttentionReport",
    "AutoAttention",
    "ChosenAttention",
    "Detections",
    "Detector",
    "DetrConfig",
    "DeviceOutOfMemory",
    "LayerClusters",
    "Prediction",
    "PreparedImage",
    "load_detector",
]

_HOMES: Final = {
    "models.attention.auto": ("AutoAttention", "ChosenAttention"),
    "models.config": ("AttentionConfig", "DetrConfig"),
    "models.detections": ("AttentionReport", "Detections", "LayerClusters", "Prediction"),
    "models.detector": ("Detector", "DeviceOutOfMemory", "load_detector"),
    "models.preprocess": ("PreparedImage",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
