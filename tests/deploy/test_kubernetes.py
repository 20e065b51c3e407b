"""deploy/kubernetes, without a cluster: strictly valid, and fitting itself, the image and the service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings, unknown_variables
from service.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ["cpu", "gpu"]
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
NOT_OF_KUBERNETES = OPERATORS | {"Kustomization", "Component"}
OPERATOR = KUBERNETES / "components" / "prometheus-operator"
PATCHES = {"resources.yaml"}
Objects = dict[str, dict[str, Any]]
needs_validator = pytest.mark.skipif(find_spec("kubernetes_validate") is None, reason="pip install kubernetes-validate")


@cache
def kustomize_version() -> tuple[int, ...]:
    """Return the version of kustomize in kubectl; nothing where there is no kubectl, or an old one."""
    if shutil.which("kubectl") is None:
        return ()
    shown = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"Kustomize Version: v([\d.]+)", shown)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def validate(document: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(document, "1.37", strict=True)


def sources() -> list[tuple[str, dict[str, Any]]]:
    """Return every whole object in the folder, with the file that it stands in."""
    files = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name not in PATCHES]
    documents = [(str(path.relative_to(KUBERNETES)), yaml.safe_load(path.read_text())) for path in files]
    return [(name, document) for name, document in documents if "kind" in document]


@pytest.fixture(scope="module")
def base() -> Objects:
    return {document["kind"]: document for name, document in sources() if name.startswith("base/")}


@pytest.fixture(scope="module")
def monitor() -> dict[str, Any]:
    return dict(yaml.safe_load((OPERATOR / "service-monitor.yaml").read_text()))


@pytest.fixture(scope="module")
def pod(base: Objects) -> dict[str, Any]:
    found: dict[str, Any] = base["Deployment"]["spec"]["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


@cache
def render(overlay: str) -> list[dict[str, Any]]:
    """Return all objects of an overlay, as kustomize makes them."""
    if kustomize_version() < (5,):
        pytest.skip("kubectl 1.27 or newer is not installed: kubernetes.io/docs/tasks/tools")
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    return list(yaml.safe_load_all(shown.stdout))


@pytest.fixture(params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> tuple[str, list[dict[str, Any]]]:
    """Return an overlay's name and its objects."""
    return request.param, render(request.param)


def variables(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def environment(overlay: str) -> dict[str, str]:
    return variables(KUBERNETES / "base/settings.env") | variables(KUBERNETES / "overlays" / overlay / "settings.env")


def settings(overlay: str) -> Settings:
    return Settings(**{name.removeprefix(PREFIX).lower(): value for name, value in environment(overlay).items()})


def resources(overlay: str) -> dict[str, dict[str, str]]:
    patch = yaml.safe_load((KUBERNETES / "overlays" / overlay / "resources.yaml").read_text())
    (patched,) = patch["spec"]["template"]["spec"]["containers"]
    found: dict[str, dict[str, str]] = patched["resources"]
    return found


@needs_validator
@pytest.mark.parametrize(("name", "document"), [row for row in sources() if row[1]["kind"] not in NOT_OF_KUBERNETES])
def test_every_object_is_strictly_valid(name: str, document: dict[str, Any]) -> None:
    validate(document)


@needs_validator
def test_every_object_that_kustomize_makes_is_strictly_valid(rendered: tuple[str, list[dict[str, Any]]]) -> None:
    for document in rendered[1]:
        if document["kind"] not in NOT_OF_KUBERNETES:
            validate(document)


def test_kustomize_makes_one_of_each_in_one_namespace(
    rendered: tuple[str, list[dict[str, Any]]], base: Objects
) -> None:
    kinds = sorted(document["kind"] for document in rendered[1])
    assert kinds == sorted([*(base.keys() - {"Kustomization"}), "ConfigMap", *OPERATORS])
    spaces = {d["metadata"]["namespace"] for d in rendered[1] if d["kind"] != "Namespace"}
    assert spaces == {base["Namespace"]["metadata"]["name"]}


def test_kustomize_puts_an_overlay_together(rendered: tuple[str, list[dict[str, Any]]]) -> None:
    overlay, documents = rendered
    objects = {document["kind"]: document for document in documents}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == resources(overlay)
    assert container["image"].startswith("registry.example/act-detr:")
    assert objects["ConfigMap"]["data"] == environment(overlay)
    assert container["envFrom"][0]["configMapRef"]["name"] == objects["ConfigMap"]["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_fit_the_resources(overlay: str) -> None:
    assert unknown_variables(environment(overlay)) == []
    chosen, limits = settings(overlay), resources(overlay)["limits"]
    assert str(chosen.threads) == limits["cpu"]
    gibibytes = int(limits["memory"].removesuffix("Gi"))
    assert chosen.max_inflight * chosen.max_batch_bytes + 2 * 2**30 <= gibibytes * 2**30


def test_a_gpu_is_asked_for_where_one_is_used() -> None:
    assert {overlay: resources(overlay)["limits"].get("nvidia.com/gpu") for overlay in OVERLAYS} == {
        "cpu": None,
        "gpu": "1",
    }
    assert {overlay: settings(overlay).device for overlay in OVERLAYS} == {"cpu": "cpu", "gpu": "cuda"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_given_the_time_to_drain(pod: dict[str, Any], container: dict[str, Any], overlay: str) -> None:
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert int(seconds) + settings(overlay).drain_seconds + 5 < pod["terminationGracePeriodSeconds"]


def test_probes_ask_what_they_are_for(container: dict[str, Any]) -> None:
    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_pods_keep_to_the_restricted_standard(base: Objects, pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert base["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} == {"emptyDir"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_what_the_service_writes_is_mounted(container: dict[str, Any]) -> None:
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    (cache,) = re.findall(r"ACT_DETR_CACHE_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    assert mounted == {"/tmp", cache}


def test_all_that_selects_pods_selects_these(base: Objects, monitor: dict[str, Any]) -> None:
    labels = base["Deployment"]["spec"]["template"].get("metadata", {}).get("labels", {})
    (added,) = base["Kustomization"]["labels"]
    assert added["includeTemplates"] is True
    labels |= added["pairs"]
    selectors = [
        base["Deployment"]["spec"]["selector"]["matchLabels"],
        base["Service"]["spec"]["selector"],
        base["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        base["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_ports_go_by_one_name(base: Objects, container: dict[str, Any], monitor: dict[str, Any]) -> None:
    (port,) = container["ports"]
    assert port == {"name": "http", "containerPort": 8000}
    (offered,) = base["Service"]["spec"]["ports"]
    assert offered["targetPort"] == port["name"]
    (scraped,) = monitor["spec"]["endpoints"]
    assert scraped["port"] == offered["name"]
    (rule,) = base["NetworkPolicy"]["spec"]["ingress"]
    assert [allowed["port"] for allowed in rule["ports"]] == [port["name"]]


def test_the_jobs_name_is_the_one_that_rules_and_dashboard_know(base: Objects) -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert base["Service"]["metadata"]["name"] in {job["job_name"] for job in jobs}


def test_the_prometheus_rule_is_made_of_the_rules_that_prometheus_reads() -> None:
    command = [sys.executable, KUBERNETES / "prometheus_rule.py"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    assert made.stdout == (OPERATOR / "prometheus-rule.yaml").read_text(), "the rules changed: make it anew"


def test_every_rule_reaches_the_cluster_as_it_is(
    rendered: tuple[str, list[dict[str, Any]]], promtool: Callable[..., str], tmp_path: Path
) -> None:
    (rule,) = (document for document in rendered[1] if document["kind"] == "PrometheusRule")
    files = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    groups = {group["name"]: group for file in files for group in yaml.safe_load(file.read_text())["groups"]}
    assert {group["name"]: group for group in rule["spec"]["groups"]} == groups
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]))
    assert "SUCCESS" in promtool("check", "rules", tmp_path / "rules.yml")


def test_nothing_goes_out_unless_a_component_lets_it(base: Objects) -> None:
    policy = base["NetworkPolicy"]["spec"]
    assert "Egress" in policy["policyTypes"]
    assert "egress" not in policy


def test_scaling_follows_a_metric_that_the_service_and_the_adapter_have(base: Objects) -> None:
    scaler = base["HorizontalPodAutoscaler"]["spec"]
    (metric,) = (entry["pods"]["metric"]["name"] for entry in scaler["metrics"])
    assert Metrics().registry.get_sample_value(metric) == 0
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == metric
    assert rule["seriesQuery"].startswith(metric)
    deployment = base["Deployment"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "each apply would undo the scaling"
    assert scaler["minReplicas"] > base["PodDisruptionBudget"]["spec"]["maxUnavailable"]
