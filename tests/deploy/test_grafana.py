"""The dashboard: made by its code, complete, and every panel answered by a Prometheus that scrapes the real service."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.local_server import free_port, wait_until

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
RULES = GRAFANA.parent / "prometheus" / "rules"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "act-detr.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
CHOSEN = {"$__rate_interval": "20s", "$instance": ".*", "$attention": ".*"}


def filled_in(expr: str) -> str:
    """Return the expression as Grafana sends it when everything is chosen."""
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    return expr


EXPRESSIONS = {
    f"{panel['title']} {target['refId']}": filled_in(target["expr"]) for panel in PANELS for target in panel["targets"]
}
"""Every query of every panel."""


@pytest.mark.skipif(find_spec("grafana_foundation_sdk") is None, reason="needs pip install grafana-foundation-sdk")
def test_the_committed_dashboard_is_what_its_code_makes() -> None:
    command = [sys.executable, "-m", "deploy.grafana.dashboard"]
    made = subprocess.run(command, cwd=GRAFANA.parents[1], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    assert made.stdout == (GRAFANA / "dashboards" / "act-detr.json").read_text()


def test_panels_have_a_cell_of_their_own_a_title_a_description_and_a_unit() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for where in [panel["gridPos"]]
        for x in range(where["x"], where["x"] + where["w"])
        for y in range(where["y"], where["y"] + where["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        if panel["type"] in ("timeseries", "stat"):
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_variable_is_used_and_every_one_used_is_there() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]))) - {"__rate_interval"}
    assert used == names


def test_provisioning_names_the_data_source_that_the_dashboard_takes() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/act-detr.yml").read_text())["providers"]
    scraping = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["global"]
    chosen = next(row["current"] for row in DASHBOARD["templating"]["list"] if row["name"] == "datasource")
    assert source["uid"] == chosen["value"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    assert provider["type"] == "file"


def test_promtool_takes_every_query(promtool: Callable[..., str], tmp_path: Path) -> None:
    rules = [{"record": f"panel:{index}", "expr": expr} for index, expr in enumerate(EXPRESSIONS.values())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


class Prometheus:
    """A client of Prometheus's HTTP API."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def values(self, expr: str) -> list[float]:
        """Return the finite values of an instant vector."""
        answer = self._client.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", answer
        assert answer["data"]["resultType"] == "vector"
        return [value for row in answer["data"]["result"] if math.isfinite(value := float(row["value"][1]))]

    def label_values(self, series: str, label: str) -> list[str]:
        answer = self._client.get(f"/api/v1/label/{label}/values", params={"match[]": series})
        return list(answer.json()["data"])

    def ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def service(run_server: Callable[..., Any]) -> Iterator[Any]:
    from models import load_detector

    with run_server(load_detector(device="cpu"), target_ms=5000.0, shadow_rate=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the configuration that is deployed, but for addresses and a scrape every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES / "*.yml")]
    for job in config["scrape_configs"]:
        target = service.port if job["job_name"] == "act-detr" else port
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, cwd=folder) as running:
        try:
            client = Prometheus(f"http://127.0.0.1:{port}")
            assert wait_until(client.ready, 20)
            # Counters that rise before the first scrape rise unseen.
            assert wait_until(lambda: bool(client.values('up{job="act-detr"} == 1')), 20)
            yield client
        finally:
            running.terminate()


@pytest.mark.slow
def test_every_panel_and_every_recorded_series_has_values_once_requests_have_come(
    service: Any, prometheus: Prometheus
) -> None:
    page = resources.files("models").joinpath("pretrained", "sample-page.jpg").read_bytes()
    modes = ("exact", "act", "act&L=8&r=4", "tangent", "merge&C=8", "auto")
    for query in (f"attention={mode}" for mode in modes):
        for _ in range(2):
            assert service.client.post(f"/detect?{query}&threshold=0.1", content=page).status_code == 200
    assert service.client.post("/detect", content=b"no image").status_code == 415
    rules = yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
    recorded = {rule["record"]: rule["record"] for group in rules for rule in group["rules"]}
    missing = EXPRESSIONS | recorded

    def all_found() -> bool:
        for name, expr in list(missing.items()):
            if prometheus.values(expr):
                del missing[name]
        return not missing

    assert wait_until(all_found, 60), f"nothing in {missing}"


@pytest.mark.slow
def test_the_choices_at_the_top_have_values(service: Any, prometheus: Prometheus) -> None:
    queries = {
        row["name"]: re.fullmatch(r"label_values\((.*), (\w+)\)", row["query"])
        for row in DASHBOARD["templating"]["list"]
        if row["type"] == "query"
    }
    values = {name: prometheus.label_values(*query.groups()) for name, query in queries.items() if query}
    assert set(values) == {"instance", "attention"}
    assert values["instance"] == [f"127.0.0.1:{service.port}"]
    assert {"exact", "act", "tangent", "merge"} <= set(values["attention"])


@pytest.mark.slow
def test_annotations_are_queries_that_prometheus_accepts(prometheus: Prometheus) -> None:
    for annotation in DASHBOARD["annotations"]["list"]:
        prometheus.values(filled_in(annotation["expr"]))
