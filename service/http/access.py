"""Who may call what: API keys, if any are set, and routes that can be turned off."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from service.errors import NotFound, Unauthorized
from service.http.dependencies import service_of

_bearer = HTTPBearer(auto_error=False, description="An API key, if the server requires one.")
_header = APIKeyHeader(name="x-api-key", auto_error=False, description="The same API key, as a header of its own.")


async def require_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> None:
    """Refuse callers without one of the server's keys. Raises Unauthorized."""
    keys = service_of(request).settings.api_keys
    offered = [key for key in (bearer.credentials if bearer else None, header) if key]
    if keys and not any(_matches(key, keys) for key in offered):
        raise Unauthorized("Send an API key as `Authorization: Bearer …` or `x-api-key`.")


async def require_explanations(request: Request) -> None:
    """Refuse callers where explanations and comparisons are turned off. Raises NotFound."""
    if not service_of(request).settings.explain:
        raise NotFound("This service has /explain and /compare turned off (ACT_DETR_EXPLAIN=false).")


def _matches(offered: str, keys: Sequence[str]) -> bool:
    """Compare with every key, in a time that does not depend on how much of one matches."""
    matches = [hmac.compare_digest(offered.encode(), key.encode()) for key in keys]
    return any(matches)
