"""What every peer runs for a request: an image file's bytes to the rows that the service answers."""

from __future__ import annotations

import threading
from typing import Any

from models.attention_config import AttentionConfig
from models.detector import load_detector
from service.cpu_threads import compute_with
from service.http.schemas import detection_rows
from service.images.image_decoding import decode_image
from service.settings import load_settings


class ImageDetector:
    """The service's model, decoding, limits and defaults, by exact attention, without the service.

    Settings come from the ACT_DETR_* environment, as the service's do. One call at a time. The thread that calls
    computes with `threads`, the one that constructs does not: no CPU thread is left over from loading (see
    `service.cpu_threads`).
    """

    def __init__(self, threads: int) -> None:
        compute_with(1)
        self._settings = settings = load_settings()
        self._detector = load_detector(settings.model, device="cpu", precision=settings.precision)
        self._nms = self._detector.config.nms if settings.nms is None else settings.nms
        self._threads = threads
        self._of_thread = threading.local()

    def __call__(self, data: bytes) -> dict[str, Any]:
        """Return `{"detections": [...]}` as the service does. Raises ServiceError for what is no image."""
        if not hasattr(self._of_thread, "ready"):
            compute_with(self._threads)
            self._of_thread.ready = True
        settings = self._settings
        pixels = decode_image(data, max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
        image = self._detector.preprocess(pixels)
        (prediction,) = self._detector.predict([image], AttentionConfig.exact(), [settings.threshold])
        chosen = prediction.detections.select(settings.threshold, settings.max_detections, None, self._nms)
        return {"detections": [row.model_dump() for row in detection_rows(chosen)]}
