"""Error responses: `application/problem+json` with the request's id, or what the Open Inference Protocol has."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.errors import PROBLEM_MEDIA_TYPE, ServiceError, all_errors, framework_error, invalid_parameters
from service.http.open_inference.errors import protocol_response, speaks_protocol
from service.telemetry.request_record import RequestRecord


def problem_body(error: ServiceError, record: RequestRecord) -> dict[str, Any]:
    """Return the members of the problem, with the request's id."""
    return error.problem() | {"request_id": record.request_id}


def error_response(error: ServiceError, scope: Scope) -> Response:
    """Return the response for an error, in the form of the request's address, and set its type in the record."""
    record: RequestRecord = scope["state"]["record"]
    record.error = error.type
    if speaks_protocol(scope):
        return protocol_response(error)
    body = json.dumps(problem_body(error, record), ensure_ascii=False, allow_nan=False).encode()
    return Response(body, error.status, error.headers, PROBLEM_MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make the app answer its own errors and the framework's as problems; middleware handles all others."""

    async def on_error(request: Request, error: Exception) -> Response:
        return error_response(_translate(error), request.scope)

    for cause in (ServiceError, RequestValidationError, HTTPException):
        app.add_exception_handler(cause, on_error)


def _translate(error: Exception) -> ServiceError:
    if isinstance(error, RequestValidationError):
        return invalid_parameters(error.errors())
    if isinstance(error, HTTPException):
        return framework_error(error.status_code, error.headers)
    assert isinstance(error, ServiceError)  # noqa: S101  (no other type is registered)
    return error


def documented(*causes: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's `responses` for these errors, with an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for cause in all_errors():
        if cause not in causes:
            continue
        response = responses.setdefault(
            cause.status,
            {
                "description": cause.title,
                "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if cause.title not in response["description"]:
            response["description"] += ". " + cause.title
        example = {"type": cause.type, "title": cause.title, "status": cause.status, "request_id": "4f0c"}
        response["content"][PROBLEM_MEDIA_TYPE]["examples"][cause.type] = {"value": example}
    return responses
