"""The scrape configuration, the rules and the alerts: accepted by promtool, and each alert tried both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from models import load_detector
from service.errors import all_errors
from service.telemetry.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yml"))
TEST_FILES = sorted((FOLDER / "tests").glob("*.yml"))


def rules() -> Iterator[dict[str, Any]]:
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
EXPRESSIONS = [rule["expr"] for rule in rules()]


def expectations(alert: str) -> list[bool]:
    """Return, for each time that a test asks about the alert, whether it must fire."""
    tests = [test for file in TEST_FILES for test in yaml.safe_load(file.read_text())["tests"]]
    asked = [row for test in tests for row in test.get("alert_rule_test", ())]
    return [bool(row.get("exp_alerts")) for row in asked if row["alertname"] == alert]


def test_the_configuration_is_accepted_with_its_rules(promtool: Callable[..., str], deploy: Path) -> None:
    said = promtool("check", "config", deploy / "prometheus" / "prometheus.yml")
    assert f"{len(RULE_FILES)} rule files found" in said


@pytest.mark.parametrize("choice", ["authorization", "dns_sd_configs", "alerting"])
def test_what_the_configuration_offers_in_comments_is_accepted(
    promtool: Callable[..., str], tmp_path: Path, choice: str
) -> None:
    text = (FOLDER / "prometheus.yml").read_text()
    block = re.search(rf"^ *# {choice}:\n(?: *#  .*\n)*", text, re.M)
    assert block is not None
    changed = text.replace(block[0], block[0].replace("# ", "", block[0].count("\n")))
    changed = changed.replace("rules/*.yml", str(FOLDER / "rules/*.yml"))
    changed = changed.replace("/run/secrets/act_detr_api_key", str(tmp_path / "key"))
    (tmp_path / "key").write_text("a-key")
    (tmp_path / "prometheus.yml").write_text(changed)
    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert "SUCCESS" in said
    assert choice in str(yaml.safe_load(changed))


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_the_rules_do_what_their_tests_say(promtool: Callable[..., str], file: Path) -> None:
    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tried_both_ways_and_says_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert set(expectations(alert)) == {True, False}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{alert.lower()}"


def test_every_alert_has_its_place_in_the_runbook(deploy: Path) -> None:
    runbook = (deploy.parent / "docs" / "operations.md").read_text()
    anchors = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", runbook, re.M)}
    assert {alert.lower() for alert in ALERTS} <= anchors


def test_the_rules_ask_for_metrics_that_exist() -> None:
    metrics = Metrics()
    metrics.describe(load_detector(device="cpu"), "1", 1, lambda: True, lambda: 0.0)
    metrics.describe_shadows()
    exposed = {row.name for family in metrics.registry.collect() for row in family.samples}
    # The first names are made by rules, and have a colon on either side of the metric's own name.
    asked = {name for expr in EXPRESSIONS for name in re.findall(r"(?<![\w:])act_detr_\w+(?![\w:])", expr)}
    assert asked
    assert asked <= exposed
    used = {name for expr in EXPRESSIONS for name in re.findall(r"\b\w+:act_detr_\w+:\w+", expr)}
    assert used <= RECORDED


def test_reasons_that_rules_name_are_causes_of_errors() -> None:
    known = {cause.type for cause in all_errors()}
    named = {
        reason
        for expr in EXPRESSIONS
        for text in re.findall(r'reason!?=~?"([^"]*)"', expr)
        for reason in text.split("|")
    }
    assert named
    assert named <= known


def test_the_objective_is_at_a_bucket() -> None:
    buckets = {
        row.labels["le"]
        for family in Metrics().registry.collect()
        for row in family.samples
        if row.name == "act_detr_request_duration_seconds_bucket"
    }
    asked = {le for expr in EXPRESSIONS for le in re.findall(r'le="([^"]*)"', expr)}
    assert asked
    assert asked <= buckets
