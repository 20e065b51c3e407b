"""The generator of the PrometheusRule: the rules and alerts of deploy/prometheus/rules for the Prometheus operator.

After a change of the rules:
`python -m deploy.kubernetes.prometheus_rule > deploy/kubernetes/components/prometheus-operator/prometheus-rule.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[1] / "prometheus" / "rules"
HEADER: Final = "# Made from deploy/prometheus/rules by deploy/kubernetes/prometheus_rule.py: change them, and run it."


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, so that expressions can be read."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def prometheus_rule() -> dict[str, Any]:
    """Return the object: the groups of all files, recording rules first, since alerts ask for what they record."""
    files = sorted(RULES.glob("*.yml"), key=lambda file: (file.stem != "recording", file.stem))
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    labels = {"app.kubernetes.io/name": "act-detr"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "act-detr", "namespace": "act-detr", "labels": labels},
        "spec": {"groups": groups},
    }


def main() -> None:
    """Print the manifest."""
    made = yaml.dump(prometheus_rule(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    print(f"{HEADER}\n{made}", end="")


if __name__ == "__main__":
    main()
