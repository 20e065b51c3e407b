"""The metrics of one replica on a port of its own, and a file with its address for Prometheus."""

from __future__ import annotations

import errno
import json
import logging
import socket
from pathlib import Path
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from models.whole_file import whole_file

logger = logging.getLogger(__name__)

_PORTS: Final = 64
"""Number of ports to try: more than a machine has devices."""


class MetricsPort:
    """Serves a registry on the first free port from `first` on, until `close`.

    A replica that replaces a dead one finds that one's port free. `targets` is a folder for Prometheus's
    `file_sd_configs`, or empty: a file there, named after the port, lasts as long as the replica is meant to. So a
    target that is down is a replica that died and was not replaced. Raises OSError when no port is free.
    """

    def __init__(self, registry: CollectorRegistry, host: str, first: int, targets: str = "") -> None:
        self.port, self._server, self._thread = _serve(registry, host, first)
        self._file = _announce(Path(targets), host, self.port) if targets else None
        logger.info("metrics on http://%s:%d/metrics", host, self.port)

    def close(self) -> None:
        """Stop serving. A second call does nothing."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _serve(registry: CollectorRegistry, host: str, first: int) -> tuple[int, WSGIServer, Thread]:
    for port in range(first, first + _PORTS):
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port, server, thread
    raise OSError(f"no free port for metrics from {first} to {first + _PORTS - 1}")


def _announce(folder: Path, host: str, port: int) -> Path:
    """Write the target's file; the machine's name stands for a host that means every interface."""
    folder.mkdir(parents=True, exist_ok=True)
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104  (compared, not bound)
    file = folder / f"{name}-{port}.json"
    with whole_file(file) as part:
        part.write_text(json.dumps([{"targets": [f"{name}:{port}"]}]) + "\n")
    return file
