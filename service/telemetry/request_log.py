"""Logging: one line a request, as JSON for machines or text for people, on the standard error stream."""

from __future__ import annotations

import ctypes
import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from PIL import _imaging

from service.telemetry.request_record import RequestRecord

requests: Final = logging.getLogger("act_detr.request")

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
    "taskName",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and whatever the call gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; an exception's traceback becomes one string."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, message, and the extras as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Append the extras."""
        extras = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        return f"{super().formatMessage(record)} {extras}".rstrip()


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def configure_logging(level: str, style: str) -> None:
    """Send every log line of the process to standard error; `style` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it tells of callers' broken files
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of callers' broken forms
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # starts and stops are told by ourselves
    _silence_libtiff()


def _silence_libtiff() -> None:
    """Keep libtiff, which Pillow uses, from writing a line to standard error for each broken row of a file."""
    with suppress(OSError, AttributeError):  # a Pillow without libtiff
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def log_request(record: RequestRecord, method: str, route: str, status: int, *, quiet: bool) -> None:
    """Write the line of a finished request; `quiet` (probes, the page) only where debugging is on."""
    level = logging.DEBUG if quiet and status < 500 else logging.INFO
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
    optional = {
        "image": record.image and f"{record.image[0]}x{record.image[1]}",
        "images": record.images or None,
        "batch_size": record.batch_size,
        "detections": record.detections,
        "error": record.error,
    }
    extra |= {name: value for name, value in optional.items() if value is not None}
    requests.log(level, "request", extra=extra)
