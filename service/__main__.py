"""The composition root: Settings → Detector → app → uvicorn. `python -m service` starts the server."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

from service.settings import BadSettings, load_settings, unknown_variables

logger = logging.getLogger(__name__)


def serve(**overrides: Any) -> int:
    """Serve until told to stop; settings come from the environment, `overrides` (by field name) win.

    Returns the process's exit status: 0, 1 when the model cannot be loaded, 2 for bad settings.
    """
    try:
        settings = load_settings(**overrides)
    except BadSettings as error:
        print(f"bad settings:\n{error}", file=sys.stderr)
        return 2
    # The first process of a container ignores SIGTERM unless told otherwise; uvicorn takes over once it runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # After the settings, so that mistakes in them are told at once: torch takes seconds to import.
    from service.app import create_app
    from service.composition import configure_process, detector_of
    from service.server import build_server

    configure_process(settings)
    for name in unknown_variables(os.environ):
        logger.warning("%s is not a setting", name)
    try:
        detector = detector_of(settings, _DownloadLog(settings.model))
    except Exception as error:
        logger.error("cannot load the model %s: %s", settings.model, error)
        logger.debug("the reason", exc_info=True)
        return 1
    build_server(create_app(settings, detector), settings).run()
    return 0


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
