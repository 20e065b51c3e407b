"""The server process: settings, log, model, app, uvicorn. `python -m service` starts it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Any

from service.settings import BadSettings, Settings, load_settings, unknown_variables
from service.telemetry.log_setup import configure_logging

if TYPE_CHECKING:
    from models.detector import Detector
    from models.weights import Progress

logger = logging.getLogger(__name__)


def serve(**overrides: Any) -> int:
    """Serve until stopped. Settings come from the environment; `overrides` (by field name) win.

    Returns the exit status: 0, 1 if the model cannot be loaded, 2 for bad settings.
    """
    try:
        settings = load_settings(**overrides)
    except BadSettings as error:
        print(f"bad settings:\n{error}", file=sys.stderr)
        return 2
    # The first process of a container ignores SIGTERM without a handler. Once uvicorn runs, it has its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Imported after the settings are checked, so that errors in them show at once: torch takes seconds to import.
    from service.app import create_app
    from service.http.routes_status import service_version
    from service.server import build_server
    from service.telemetry.tracing import configured_tracer

    configure_process(settings)
    for name in unknown_variables(os.environ):
        logger.warning("%s is not a setting", name)
    tracer = configured_tracer(os.environ, service_version())
    try:
        detector = load_configured_detector(settings, _DownloadLog(settings.model))
    except Exception as error:
        logger.error("cannot load the model %s: %s", settings.model, error)
        logger.debug("the reason", exc_info=True)
        return 1
    try:
        app = create_app(settings, detector, tracer)
    except BadSettings as error:
        print(f"bad settings:\n{error}", file=sys.stderr)
        return 2
    build_server(app, settings).run()
    return 0


def configure_process(settings: Settings) -> None:
    """Configure what belongs to the whole process: memory, the log, Pillow's warnings, this thread's computing."""
    from models.allocator import keep_freed_memory
    from service.cpu_threads import compute_with

    keep_freed_memory()
    configure_logging(settings.log_level, settings.log_format)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # it warns of callers' broken files, and of sizes
    compute_with(1)


def load_configured_detector(settings: Settings, progress: Progress | None = None) -> Detector:
    """Load the model that the settings name. Raises what `load_detector` raises."""
    from models.detector import load_detector

    return load_detector(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        cache_dir=settings.cache_dir,
        progress=progress,
    )


class _DownloadLog:
    """Logs a line for every tenth of a download."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._tenths = 0

    def __call__(self, done: int, total: int | None) -> None:
        tenths = 10 * done // total if total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            logger.info("downloading %s: %d %%", self._model, 10 * tenths)


if __name__ == "__main__":
    sys.exit(serve())
