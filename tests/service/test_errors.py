import inspect
import json
import re

import pytest

from service import errors
from service.errors import (
    BadParameter,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    QueueFull,
    RequestTimeout,
    ServiceError,
    TooManyBytes,
    Unauthorized,
    all_errors,
    framework_error,
)


def make(cause: type[ServiceError]) -> ServiceError:
    return QueueFull(3) if cause is QueueFull else cause()


def test_every_exception_of_the_module_is_listed() -> None:
    declared = {
        item
        for item in vars(errors).values()
        if inspect.isclass(item) and issubclass(item, Exception) and item is not ServiceError
    }
    assert set(all_errors()) == declared
    assert len({cause.type for cause in declared}) == len(declared)


@pytest.mark.parametrize("cause", list(all_errors()), ids=lambda cause: cause.type)
def test_a_bare_error_is_a_complete_problem(cause: type[ServiceError]) -> None:
    error = make(cause)
    problem = json.loads(json.dumps(error.problem()))
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem["type"])
    assert problem["title"]
    assert problem["status"] == error.status
    assert "detail" not in problem
    assert all(isinstance(value, str) for value in error.headers.values())
    assert str(error) == cause.title


def test_detail_headers_and_members_go_out() -> None:
    error = TooManyBytes("12 bytes, at most 10", headers={"X-A": "b"}, limit=10)
    assert error.headers == {"X-A": "b"}
    assert str(error) == "12 bytes, at most 10"
    assert error.problem() == {
        "type": "too-many-bytes",
        "title": "The body has too many bytes",
        "status": 413,
        "detail": "12 bytes, at most 10",
        "limit": 10,
    }


def test_a_member_never_replaces_a_standard_one() -> None:
    problem = BadParameter(status=200, type="fine", parameter="L").problem()
    assert problem == {
        "type": "bad-parameter",
        "title": BadParameter.title,
        "status": 422,
        "parameter": "L",
    }


@pytest.mark.parametrize(("seconds", "whole"), [(0, 1), (0.2, 1), (1, 1), (1.01, 2), (61.5, 62)])
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, whole: int) -> None:
    error = QueueFull(seconds)
    assert error.headers["Retry-After"] == str(whole)
    assert error.problem()["retry_after"] == error.retry_after == whole


def test_the_headers_that_http_asks_for() -> None:
    assert Unauthorized().headers["WWW-Authenticate"] == "Bearer"
    assert RequestTimeout().headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (404, NotFound),
        (405, MethodNotAllowed),
        (400, MalformedRequest),
        (418, MalformedRequest),
        (502, InternalError),
    ],
)
def test_framework_errors_become_service_errors(status: int, cause: type[ServiceError]) -> None:
    error = framework_error(status, {"Allow": "POST"})
    assert type(error) is cause
    assert error.headers["Allow"] == "POST"


def test_importing_the_errors_loads_no_web_framework() -> None:
    source = inspect.getsource(errors)
    assert not re.search(r"^\s*(import|from) (fastapi|starlette)", source, re.MULTILINE)
