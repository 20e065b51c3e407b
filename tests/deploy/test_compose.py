"""docker-compose.yml, without a Docker: its schema, and that it fits the service, the Dockerfile and its own mounts."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
TRACING = ROOT / "docker-compose.tracing.yml"
DETECTORS = ["detector", "detector-gpu"]
UNITS = {"m": 2**20, "g": 2**30}


def interpolate(text: str, variables: dict[str, str]) -> str:
    """Put values in the place of ${NAME:-default}, innermost first, as compose does."""
    while (filled := re.sub(r"\$\{(\w+):-([^${}]*)\}", lambda m: variables.get(m[1]) or m[2], text)) != text:
        text = filled
    return text


def load(variables: dict[str, str] | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(interpolate(COMPOSE.read_text(), variables or {}))
    return loaded


def memory(service: dict[str, Any]) -> int:
    text: str = service["deploy"]["resources"]["limits"]["memory"]
    return int(text[:-1]) * UNITS[text[-1]]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = load()["services"]
    return found


@pytest.fixture(scope="module")
def example() -> dict[str, list[str]]:
    """Return the values of each variable of .env.example, as they are when uncommented."""
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        values.setdefault(name, []).append(value)
    return values


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="pip install check-jsonschema")
@pytest.mark.parametrize("file", [COMPOSE, TRACING], ids=lambda file: file.name)
def test_it_follows_the_compose_specification(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_container_is_confined_and_comes_back(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name


def test_nothing_is_offered_beyond_this_machine_unless_asked_for(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    asked = load({"DETECTOR_LISTEN": "0.0.0.0:80"})["services"]["detector"]
    assert asked["ports"] == ["0.0.0.0:80:8000"]


def test_where_to_listen_is_not_taken_from_what_a_container_is_told(services: dict[str, Any]) -> None:
    # podman-compose puts a service's own environment before the defaults: ACT_DETR_HOST there is 0.0.0.0.
    for name in DETECTORS:
        (port,) = yaml.safe_load(COMPOSE.read_text())["services"][name]["ports"]
        assert not set(re.findall(r"\w+", port)) & set(services[name]["environment"])


def test_each_starts_when_what_it_needs_is_healthy(services: dict[str, Any]) -> None:
    healthy = {"condition": "service_healthy"}
    assert services["grafana"]["depends_on"] == {"prometheus": healthy}
    assert services["prometheus"]["depends_on"] == {name: healthy | {"required": False} for name in DETECTORS}
    assert "healthcheck" in services["prometheus"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert not any("healthcheck" in services[name] for name in DETECTORS), "the image's own would be hidden"


def test_what_is_mounted_exists(services: dict[str, Any]) -> None:
    volumes = load()["volumes"]
    for service in services.values():
        for mount in service["volumes"]:
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert rest.endswith(":ro"), mount
            else:
                assert source in volumes, source


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_starts_with_nothing_set(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services[name]["environment"]
    assert unknown_variables(environment) == []
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(value))
    settings = Settings()
    assert (settings.model, settings.host, settings.port) == ("pages-small", "0.0.0.0", 8000)
    assert str(settings.threads) == services[name]["deploy"]["resources"]["limits"]["cpus"]
    assert settings.max_inflight * settings.max_batch_bytes + 2 * 2**30 <= memory(services[name])
    assert settings.drain_seconds + 5 < int(services[name]["stop_grace_period"].removesuffix("s"))


def test_any_setting_reaches_a_detector(services: dict[str, Any]) -> None:
    for name in DETECTORS:
        assert services[name]["env_file"] == [{"path": ".env", "required": False}]
    chosen = {"ACT_DETR_MODEL": "detr-r50", "ACT_DETR_THREADS": "3", "DETECTOR_CPUS": "5"}
    detector = load(chosen)["services"]["detector"]
    assert detector["environment"]["ACT_DETR_MODEL"] == "detr-r50"
    assert detector["environment"]["ACT_DETR_THREADS"] == 3
    assert detector["deploy"]["resources"]["limits"]["cpus"] == "5"


def test_prometheus_scrapes_whichever_detector_runs(services: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    assert "detector:8000" in targets
    assert services["detector-gpu"]["networks"]["default"]["aliases"] == ["detector"]


def test_a_gpu_is_reserved_in_its_profile_alone(services: dict[str, Any], example: dict[str, list[str]]) -> None:
    assert [name for name, service in services.items() if "profiles" in service] == ["detector-gpu"]
    (device,) = services["detector-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert example["COMPOSE_PROFILES"] == services["detector-gpu"]["profiles"]
    (none,) = example["CPU_DETECTORS"]
    assert load({"CPU_DETECTORS": none})["services"]["detector"]["deploy"]["replicas"] == 0


def test_the_example_names_every_variable_and_its_default(example: dict[str, list[str]]) -> None:
    settings = {f"ACT_DETR_{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text()))
    own = {name for name in example if name not in settings}
    assert own - {"COMPOSE_PROFILES"} <= used, "not used by docker-compose.yml"
    assert used - settings <= own, "not in .env.example"
    assert not any(name.startswith("ACT_DETR_") for name in own), "not a setting"


def test_with_tracing_jaeger_is_confined_and_everything_else_as_before(services: dict[str, Any]) -> None:
    with_it = yaml.safe_load(interpolate(TRACING.read_text(), {}))["services"]
    confined = {"restart", "read_only", "cap_drop", "security_opt", "logging"}
    jaeger = with_it.pop("jaeger")
    assert {name: jaeger[name] for name in confined} == {name: services["grafana"][name] for name in confined}
    assert set(jaeger["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert all(port.startswith("127.0.0.1:") for port in jaeger["ports"])
    assert set(with_it) == {*DETECTORS, "prometheus"}
    flag = "--enable-feature=exemplar-storage"
    assert with_it["prometheus"] == {"command": [*services["prometheus"]["command"], flag]}
    for name in DETECTORS:
        assert with_it[name]["environment"] == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}
        assert with_it[name]["build"] == {"args": {"EXTRAS": "otel"}}
