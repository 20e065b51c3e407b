"""The protocol's error responses: `{"error": "TYPE: what is wrong"}`, with the status and headers of the error."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope

from service.errors import ServiceError, all_errors

PREFIX: Final = "/v2"


def speaks_protocol(scope: Scope) -> bool:
    """Return whether the request's address is the protocol's, whether or not there is anything at it."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    return path == PREFIX or path.startswith(PREFIX + "/")


def protocol_response(error: ServiceError) -> Response:
    """Return the response for an error. Clients show its text only, so its type is the first word."""
    body = {"error": _text(error.type, error.detail or error.title)}
    return Response(json.dumps(body, ensure_ascii=False).encode(), error.status, error.headers, "application/json")


def _text(error_type: str, explanation: str) -> str:
    return f"{error_type}: {explanation}"


def documented_errors(*causes: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's `responses` for these errors, with an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for cause in all_errors():
        if cause not in causes:
            continue
        schema: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/ErrorResponse"}, "examples": {}}
        response = responses.setdefault(
            cause.status, {"description": cause.title, "content": {"application/json": schema}}
        )
        if cause.title not in response["description"]:
            response["description"] += ". " + cause.title
        example = {"value": {"error": _text(cause.type, cause.title)}}
        response["content"]["application/json"]["examples"][cause.type] = example
    return responses
