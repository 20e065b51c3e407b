"""The log line of a finished request."""

from __future__ import annotations

import logging
from typing import Any, Final

from service.telemetry.request_record import NO_ATTENTION, RequestRecord

requests: Final = logging.getLogger("act_detr.request")


def log_request(record: RequestRecord, method: str, route: str, status: int) -> None:
    """Log a finished request; probes and pages at debug level."""
    quiet = record.attention == NO_ATTENTION and record.bytes_read == 0 and status < 400
    extra: dict[str, Any] = {
        "request_id": record.request_id,
        "method": method,
        "route": route,
        "status": status,
        "attention": record.attention,
        "total_ms": round(record.elapsed * 1e3, 3),
        "stages_ms": {name: round(seconds * 1e3, 3) for name, seconds in record.stages.items()},
        "bytes": record.bytes_read,
    }
    if record.images:
        last = record.images[-1]
        extra["image"] = f"{last.width}x{last.height}"
        extra["resized"] = f"{last.resized[1]}x{last.resized[0]}"
        extra["tiles"] = sum(len(image.tiling) for image in record.images)
        extra["batch_size"] = max(image.batch_size for image in record.images)
        if last.rung is not None:
            extra["rung"] = last.rung
        extra["detections"] = sum(len(image.detections) for image in record.images)
    if record.batch_images is not None:
        extra["images"] = record.batch_images
    if record.error is not None:
        extra["error"] = record.error
    requests.log(logging.DEBUG if quiet else logging.INFO, "request", extra=extra)
