"""How a client connects."""

from __future__ import annotations

from typing import Any, Final

import httpx

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds: twice the service's default deadline."""
DEFAULT_CONCURRENCY: Final = 8
_CONNECT_SECONDS: Final = 10.0


def connection_options(timeout: float) -> dict[str, Any]:
    """Return the arguments of httpx's clients. Connections are not limited: callers bound what is under way."""
    return {
        "timeout": httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=None),
    }


def check_concurrency(concurrency: int) -> None:
    """Raise ValueError for a number of requests that none could have."""
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")
