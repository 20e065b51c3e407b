"""BentoML: a process for each worker, all listening on one port.

    PEER_PORT=8001 python -m bentoml serve deploy.peers.bentoml_server:PageDetector --port 8001

Batching is off, as the service's is on a CPU. `threads` of BentoML, the calls at a time in a worker, is one, as a
detector takes one call at a time. `timeout` cancels requests that have not been answered.
"""

# Without postponed annotations: BentoML reads those of the endpoint.

import math
from pathlib import Path
from typing import Any

import bentoml

from deploy.peers.image_detector import ImageDetector
from deploy.peers.settings import PeerSettings

_SETTINGS = PeerSettings()


@bentoml.service(  # type: ignore[untyped-decorator,unused-ignore]
    workers=_SETTINGS.workers,
    threads=1,
    traffic={"timeout": max(1, math.ceil(_SETTINGS.timeout_s)), "max_concurrency": _SETTINGS.max_inflight},
    logging={"access": {"enabled": False}},
)
class PageDetector:
    """A detector in each worker."""

    def __init__(self) -> None:
        """Load the model in the worker's process."""
        self._detect = ImageDetector(_SETTINGS.threads_each)

    @bentoml.api(route="/detect")  # type: ignore[untyped-decorator,unused-ignore]
    def detect(self, image: Path, /) -> dict[str, Any]:
        """Detect in one image file, which BentoML has written to disk."""
        return self._detect(image.read_bytes())
