"""Ray Serve: the second try of its proxies, metrics ports, the configuration, and a cluster that loses a replica."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter

from deploy.ray import proxy
from deploy.ray.metrics_port import MetricsPort
from deploy.ray.proxy import SecondTry
from service.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
NO_RAY = "Ray is not installed: pip install '.[ray]'"

Step = Callable[[Any, Any, Any], Awaitable[None]]


async def dies(scope: Any, receive: Any, send: Any) -> None:
    """What Ray's proxy does when the replica died: nothing."""


async def dies_behind_its_head(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def answers(status: int, body: bytes | None = None, kind: str = "application/json") -> Step:
    """Answer with these, and with the body that came where none is given; Ray adds its request id behind the app's."""

    async def step(scope: Any, receive: Any, send: Any) -> None:
        came, more = b"", True
        while more:
            message = await receive()
            came, more = came + message["body"], message.get("more_body", False)
        own = dict(scope["headers"])[b"x-request-id"]
        headers = [(b"content-type", kind.encode()), (b"x-request-id", own), (b"x-request-id", b"rays")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": came if body is None else body})

    return step


def replica_dead(type_: str = "device-failed") -> Step:
    return answers(503, json.dumps({"type": type_}).encode(), "application/problem+json")


class RaysProxy:
    """Takes one step a request, and notes the request's id and path."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.ids: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ids.append(dict(scope["headers"]).get(b"x-request-id", b""))
        await self.steps.pop(0)(scope, receive, send)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_PAUSES", (0.0, 0.0))


def post(rays: RaysProxy, path: str = "/detect", body: bytes = b"an image", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(SecondTry(rays))
        async with httpx.AsyncClient(transport=transport, base_url="http://ray") as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("failure", [dies, dies_behind_its_head, replica_dead()])
@pytest.mark.parametrize("times", [1, 2])
def test_a_request_whose_replica_fails_is_sent_again_whole_and_with_its_id(failure: Step, times: int) -> None:
    rays = RaysProxy(*[failure] * times, answers(200))
    answer = post(rays)
    assert (answer.status_code, answer.content) == (200, b"an image")
    assert len(rays.ids) == times + 1
    assert set(rays.ids) == {answer.headers["x-request-id"].encode()}


def test_the_callers_id_is_kept_and_rays_is_dropped() -> None:
    answer = post(RaysProxy(answers(200)), **{"x-request-id": "mine"})
    assert answer.headers.get_list("x-request-id") == ["mine"]


def test_when_every_try_ends_in_nothing_the_caller_is_told_to_come_back() -> None:
    rays = RaysProxy(dies, dies_behind_its_head, dies)
    answer = post(rays)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "device-failed"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == rays.ids[0].decode()


def test_the_last_refusal_of_a_replica_is_passed_on() -> None:
    answer = post(RaysProxy(dies, replica_dead(), replica_dead("draining")))
    assert (answer.status_code, answer.json()["type"]) == (503, "draining")


@pytest.mark.parametrize("status", [200, 422, 429, 500, 504])
def test_any_other_answer_of_the_app_passes_as_it_is(status: int) -> None:
    rays = RaysProxy(answers(status, b"{}", "application/problem+json"))
    answer = post(rays)
    assert (answer.status_code, answer.content, len(rays.ids)) == (status, b"{}", 1)


@pytest.mark.parametrize(
    ("rays_status", "tries", "status", "type_", "retry_after"),
    [(429, 1, 429, "queue-full", "1"), (503, 3, 503, "not-ready", "1"), (408, 1, 504, "deadline-passed", None)],
)
def test_rays_own_refusals_become_problems(
    rays_status: int, tries: int, status: int, type_: str, retry_after: str | None
) -> None:
    answer = post(RaysProxy(*[answers(rays_status, b"Ray's words", "text/plain; charset=utf-8")] * tries))
    assert (answer.status_code, answer.json()["type"]) == (status, type_)
    assert answer.json()["status"] == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_text_of_the_app_is_no_refusal() -> None:
    answer = post(RaysProxy(answers(200, b"act_detr_ready 1.0", "text/plain; version=1.0.0")), "/metrics")
    assert answer.text == "act_detr_ready 1.0"


def test_rays_own_paths_are_left_alone() -> None:
    rays = RaysProxy(answers(503, b"draining", "text/plain"))
    rays.steps[0] = _plain_503
    answer = post(rays, "/-/healthz")
    assert (answer.status_code, answer.text, rays.ids) == (503, "This node is being drained.", [b""])


async def _plain_503(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"This node is being drained."})


def test_a_body_too_long_to_keep_has_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_MAX_KEPT_BYTES", 3)

    async def reads_and_dies(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    rays = RaysProxy(reads_and_dies)
    assert post(rays).status_code == 503
    assert len(rays.ids) == 1


def test_nothing_is_sent_again_for_a_caller_that_left() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody listens")

    async def reads_and_dies(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    rays = RaysProxy(reads_and_dies)
    scope = {"type": "http", "path": "/detect", "headers": []}
    asyncio.run(SecondTry(rays)(scope, receive, send))
    assert len(rays.ids) == 1


def test_each_replica_has_a_metrics_port_and_a_file_that_tells_of_it(tmp_path: Path) -> None:
    ports = []
    for count in (1, 2):
        registry = CollectorRegistry()
        Counter("images", "", registry=registry).inc(count)
        first = ports[0].port if ports else 19200
        ports.append(MetricsPort(registry, "127.0.0.1", first, str(tmp_path)))
    assert ports[0].port != ports[1].port
    told = sorted(json.loads(file.read_text())[0]["targets"][0] for file in tmp_path.iterdir())
    assert told == sorted(f"127.0.0.1:{port.port}" for port in ports)
    for count, port in enumerate(ports, 1):
        text = httpx.get(f"http://127.0.0.1:{port.port}/metrics", trust_env=False).text
        assert f"images_total {count}.0" in text
    ports[0].close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{ports[0].port}/metrics", trust_env=False)
    assert len(list(tmp_path.iterdir())) == 1
    ports[1].close()
    assert not list(tmp_path.iterdir())


def configuration() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    return loaded


def test_the_configuration_sets_only_settings_that_exist() -> None:
    (application,) = configuration()["applications"]
    variables = application["runtime_env"]["env_vars"]
    assert variables
    assert unknown_variables(variables) == []
    assert application["route_prefix"] == "/"


def test_the_proxy_waits_longer_than_the_app() -> None:
    settings = Settings()
    longest = settings.body_timeout_s + settings.deadline_ms / 1e3
    assert configuration()["http_options"]["request_timeout_s"] > longest


def test_ray_and_the_application_accept_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as build
    from ray.serve.schema import ServeDeploySchema

    from deploy.ray import application

    accepted = ServeDeploySchema.model_validate(configuration())
    (one,) = accepted.applications
    module, _, name = one.import_path.partition(":")
    assert (module, getattr(application, name)) == (application.__name__, application.build)
    for variable, value in one.runtime_env["env_vars"].items():
        monkeypatch.setenv(variable, value)
    assert application.Arguments(**one.args).gpus == 1
    assert build(application.build, one.args) is not None
    with pytest.raises(ValueError, match="cores"):
        build(application.build, {"cores": 2})
    with pytest.raises(ValueError, match="min_replicas is greater"):
        application.Arguments(min_replicas=2, max_replicas=1)


def test_the_app_refuses_before_ray_does_and_ray_waits_for_its_drain() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from deploy.ray.application import Arguments, options

    settings = Settings(max_inflight=10, drain_seconds=50, deadline_ms=1000)
    chosen = options(Arguments(gpus=1, min_replicas=1, max_replicas=4), settings)
    assert chosen["max_ongoing_requests"] > settings.max_inflight
    assert chosen["graceful_shutdown_timeout_s"] > settings.drain_seconds
    assert chosen["backpressure_config"].status_code == 429
    assert chosen["backpressure_config"].retry_after_s == 1
    assert chosen["ray_actor_options"]["num_gpus"] == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_of_two_replicas_loses_one_and_no_request() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    command = [sys.executable, "-m", "deploy.ray.check", "--seconds=6", "--callers=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9 of one replica under load" in done.stdout
    assert "no retry of callers' own, lost: 0" in done.stdout
