"""LitServe: a process for HTTP, and a process for each worker.

    PEER_PORT=8001 python -m deploy.peers.litserve_server

Batching is off, as the service's is on a CPU. One process for HTTP is enough at a few dozen requests a second.
LitServe's own `timeout` drops requests that have waited for a worker longer than that.
"""

# Without postponed annotations: LitServe reads that of `decode_request` to declare its endpoint.

from typing import Annotated, Any

import litserve
from fastapi import Depends, Request

from deploy.peers.image_detector import ImageDetector
from deploy.peers.settings import PeerSettings


async def read_body(request: Request) -> bytes:
    """Return the request's body."""
    return await request.body()


class DetectApi(litserve.LitAPI):  # type: ignore[misc]  # untyped
    """The stages of a request; all run in a worker."""

    def setup(self, device: str) -> None:
        """Load the model in the worker's process."""
        self.detect = ImageDetector(PeerSettings().threads_each)

    def decode_request(self, request: Annotated[bytes, Depends(read_body)]) -> bytes:
        """Take the image file as it is: decoding is a part of `predict`."""
        return request

    def predict(self, x: bytes) -> dict[str, Any]:
        """Detect in one image file."""
        return self.detect(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Answer the rows."""
        return output


def main() -> None:
    """Serve until stopped."""
    settings = PeerSettings()
    server = litserve.LitServer(
        DetectApi(max_batch_size=1, api_path="/detect"),
        accelerator="cpu",
        devices=1,
        workers_per_device=settings.workers,
        timeout=settings.timeout_s,
        healthcheck_path="/readyz",
    )
    server.run(
        host="127.0.0.1",
        port=settings.port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
        limit_concurrency=settings.max_inflight,
    )


if __name__ == "__main__":
    main()
