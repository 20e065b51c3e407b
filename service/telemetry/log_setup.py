"""The log of the process: one line per event on standard error, as JSON for machines or text for people."""

from __future__ import annotations

import ctypes
import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from PIL import _imaging

from service.telemetry.tracing import current_trace

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the call's `extra`."""

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


def add_trace_ids(record: logging.LogRecord) -> bool:
    """Add `trace_id` and `span_id` to what is logged while a traced request is served. Filters nothing out."""
    trace = current_trace.get()
    if trace is not None:
        vars(record).update(trace.ids)
    return True


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def configure_logging(level: str, style: str) -> None:
    """Send every log line of the process to standard error; `style` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    handler.addFilter(add_trace_ids)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it reports callers' broken files
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of callers' broken forms
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # the service logs starts and stops itself
    _silence_libtiff()


def _silence_libtiff() -> None:
    """Keep libtiff, which Pillow uses, from writing a line to standard error for each broken row of a file."""
    with suppress(OSError, AttributeError):  # a Pillow without libtiff
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
