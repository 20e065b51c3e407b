"""Plain FastAPI with a thread pool: a `def` endpoint, and as many threads in its pool as there are detectors.

    PEER_PORT=8001 python -m deploy.peers.fastapi_server

FastAPI runs `def` endpoints on a pool of 40 threads. A detector takes one call at a time, so that each would wait for a
lock, with a pool of OpenMP threads of its own. With one thread a detector there is no need for a lock, and each request
waits in the pool's queue instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Annotated, Any

import anyio.to_thread
import uvicorn
from fastapi import Depends, FastAPI, Request

from deploy.peers.image_detector import ImageDetector
from deploy.peers.settings import PeerSettings


async def read_body(request: Request) -> bytes:
    """Return the request's body."""
    return await request.body()


def create_app(settings: PeerSettings) -> FastAPI:
    """Return the app, with `settings.workers` detectors."""
    idle: SimpleQueue[ImageDetector] = SimpleQueue()
    for _ in range(settings.workers):
        idle.put(ImageDetector(settings.threads_each))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.workers
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/detect")
    def detect(body: Annotated[bytes, Depends(read_body)]) -> dict[str, Any]:
        detector = idle.get()
        try:
            return detector(body)
        finally:
            idle.put(detector)

    return app


def main() -> None:
    """Serve until stopped."""
    settings = PeerSettings()
    uvicorn.run(
        create_app(settings),
        host="127.0.0.1",
        port=settings.port,
        log_level="warning",
        limit_concurrency=settings.max_inflight,
    )


if __name__ == "__main__":
    main()
