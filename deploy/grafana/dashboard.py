"""The Grafana dashboard, as code: its rows, what is chosen at its top, what is marked in all panels.

After a change: `python -m deploy.grafana.dashboard > deploy/grafana/dashboards/act-detr.json`.
"""

from __future__ import annotations

import json

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana import attention, latency, overview, resources, traffic
from deploy.grafana.panels import SOURCE
from deploy.grafana.queries import HERE


def variables() -> list[Builder[VariableModel]]:
    """What is chosen at the top."""
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(text="Prometheus", value="prometheus")),
        _choice("instance", "Instance", 'label_values(up{job="act-detr"}, instance)'),
        _choice("attention", "Attention", "label_values(act_detr_stage_duration_seconds_count, attention)"),
        dashboard.QueryVariable("stage")
        .label("Stage")
        .datasource(SOURCE)
        .query("label_values(act_detr_stage_duration_seconds_count, stage)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .current(VariableOption(text="inference", value="inference")),
    ]


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text=["All"], value=["$__all"]))
    )


def marks() -> list[Builder[AnnotationQuery]]:
    """What happened, as lines through all panels."""
    alerts = 'ALERTS{alertname=~"ActDetr.*", alertstate="firing"}'
    starts = f'changes(process_start_time_seconds{{job="act-detr", {HERE}}}[$__rate_interval]) > 0'
    return [
        dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)
        for name, color, expr in (("Alerts", "red", alerts), ("Restarts", "blue", starts))
    ]


def build() -> Dashboard:
    """Put the rows together."""
    board = (
        dashboard.Dashboard("act-detr")
        .uid("act-detr")
        .description("Object detection with exact, ACT or tangent attention: latency, load, clusters, resources.")
        .tags(["act-detr"])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .variables(variables())
        .annotations(marks())
    )
    rows = (
        ("Overview", overview.row()),
        ("Latency", latency.row()),
        ("Traffic and queue", traffic.row()),
        ("Exact attention and ACT", attention.row()),
        ("Resources", resources.row()),
    )
    for title, row in rows:
        board.with_row(dashboard.Row(title))
        for panel in row:
            board.with_panel(panel)
    built = board.build()
    for place, numbered in enumerate(built.panels or [], start=1):
        numbered.id_val = place
    return built


def main() -> None:
    """Print the dashboard's JSON."""
    print(json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False))


if __name__ == "__main__":
    main()
