"""DETR with exact, adaptive-clustering (ACT) and tangent attention, usable without the service.

from models import AttentionConfig, load_detector
detector = load_detector()
prediction = detector.detect(image, AttentionConfig.act(L=16, r=8.0))
"""

from models.attention.auto import AutoAttention, ChosenAttention
from models.config import AttentionConfig, DetrConfig
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
