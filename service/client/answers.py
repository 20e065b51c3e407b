"""What an HTTP answer says: the model that is expected, or the error that its problem describes."""

from __future__ import annotations

import json
from typing import Final, NoReturn, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from service.errors import PROBLEM_MEDIA_TYPE, ServiceError, received_error
from service.http.schemas import BatchResult, DetectionResult, FailedImage, Problem

Model = TypeVar("Model", bound=BaseModel)
UNKNOWN: Final = "about:blank"
"""The type of an error that is no problem of the service, as in RFC 9457."""
_SHOWN: Final = 200
"""Characters of a foreign answer that an error quotes."""


def problem_of(response: httpx.Response) -> Problem | None:
    """Return the problem that an answer is; None for any other answer."""
    if response.headers.get("content-type", "").partition(";")[0].strip() != PROBLEM_MEDIA_TYPE:
        return None
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def read_model(response: httpx.Response, model: type[Model]) -> Model:
    """Return the answer as a model. Raises ServiceError: of the problem's class if the service refused."""
    _raise_unless_ok(response, "application/json")
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        row = error.errors()[0]
        where = ".".join(map(str, row["loc"])) or "JSON"
        _foreign(response, f"answered, but not as this version of the client expects: {where}: {row['msg']}")


def read_png(response: httpx.Response) -> bytes:
    """Return the picture. Raises as `read_model`."""
    _raise_unless_ok(response, "image/png")
    return response.content


def read_batch(response: httpx.Response) -> list[DetectionResult | ServiceError]:
    """Return the result or error of each image of a batch. Raises as `read_model` if the batch failed as a whole."""
    results = read_model(response, BatchResult).results
    return [_error(one.error, {}) if isinstance(one, FailedImage) else one for one in results]


def _raise_unless_ok(response: httpx.Response, media_type: str) -> None:
    if (problem := problem_of(response)) is not None:
        raise _error(problem, dict(response.headers))
    if response.has_redirect_location:
        _foreign(response, f"redirects to {response.headers['location']}: use that address")
    if response.status_code != httpx.codes.OK or not response.headers.get("content-type", "").startswith(media_type):
        text = json.dumps(response.text[:_SHOWN], ensure_ascii=False)
        _foreign(response, f"answered {response.status_code} {response.reason_phrase}, not as act-detr does: {text}")


def _error(problem: Problem, headers: dict[str, str]) -> ServiceError:
    return received_error(problem.model_dump(exclude_unset=True), headers)


def _foreign(response: httpx.Response, what: str) -> NoReturn:
    url = response.url.copy_with(userinfo=b"", query=None)
    problem = {
        "type": UNKNOWN,
        "title": response.reason_phrase or "Not an answer of act-detr",
        "status": response.status_code,
        "detail": f"{url} {what}",
        "request_id": response.headers.get("x-request-id", response.request.headers.get("x-request-id")),
    }
    raise received_error(problem, dict(response.headers))
