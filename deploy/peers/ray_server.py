"""Ray Serve as its guides have it: a proxy, and a replica for each worker, on a cluster of one node.

    PEER_PORT=8001 python -m deploy.peers.ray_server

`deploy.ray` runs the service itself on Ray; this is the detector without it. A replica computes on one thread of its
own, and has at most two requests, so that the next is at hand when one ends. Further ones wait in the proxy.
`request_timeout_s` cancels requests that have not been answered.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request

from deploy.peers.image_detector import ImageDetector
from deploy.peers.settings import PeerSettings
from deploy.ray.cluster import cluster, environment


class Replica:
    """A detector on a thread of its own."""

    def __init__(self, threads: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._detect = ImageDetector(threads)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Detect in the image file that is the request's body; /readyz answers that the replica runs."""
        if request.url.path == "/readyz":
            return {"status": "ok"}
        body = await request.body()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._detect, body)


def application(settings: PeerSettings) -> Any:
    """Return Ray's application: one deployment, without autoscaling and batching."""
    from ray import serve

    variables = {"OMP_NUM_THREADS": str(settings.threads_each)}  # Ray would set 1
    deployment = serve.deployment(
        Replica,
        num_replicas=settings.workers,
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": variables}},
        max_ongoing_requests=2,
        max_queued_requests=settings.max_inflight,
    )
    return deployment.bind(settings.threads_each)


def main() -> None:
    """Serve until stopped."""
    settings = PeerSettings()
    os.environ.update(environment(second_try=False))  # before Ray is imported, which reads it then
    from ray import serve

    with tempfile.TemporaryDirectory(prefix="ray-") as folder, cluster(Path(folder)):
        http = {"host": "127.0.0.1", "port": settings.port, "request_timeout_s": settings.timeout_s}
        serve.start(proxy_location="HeadOnly", http_options=http)
        serve.run(application(settings), name="detect", route_prefix="/")
        threading.Event().wait()


if __name__ == "__main__":
    main()
