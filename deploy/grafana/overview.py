"""Is it well? Numbers to read from across the room."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import Query, labels, number, states
from deploy.grafana.queries import CHOSEN, DETECT, HERE, STATE, quantiles, rate


def row() -> list[Builder[Panel]]:
    """Return the panels, in order."""
    plain, load = [(None, "blue")], [(None, "green"), (0.01, "orange"), (0.05, "red")]
    return [
        number(
            "Ready",
            "Share of the instances that Prometheus knows which answer and refuse nobody for warming up, draining or "
            "a failed device.",
            f"avg(({STATE}) == bool 2)",
            "percentunit",
            [(None, "red"), (0.5, "orange"), (1, "green")],
        ),
        number(
            "Alerts firing",
            "Alerts of this service; the list is under Alerts in Prometheus, what to do in docs/operations.md.",
            'count(ALERTS{alertname=~"ActDetr.*", alertstate="firing"}) or vector(0)',
            "short",
            [(None, "green"), (1, "red")],
        ),
        number(
            "Requests",
            "Detection requests a second, whatever became of them.",
            rate(f'act_detr_request_duration_seconds_count{{{HERE}, route=~"/detect.*"}}'),
            "reqps",
            plain,
        ),
        number(
            "Images",
            "Images answered a second.",
            rate(f"act_detr_images_total{{{CHOSEN}}}"),
            "images/s",
            plain,
        ),
        number(
            "Latency p95",
            "95 of 100 answered /detect requests took at most this long. The objective allows one in a hundred to "
            "take longer than 1 s.",
            quantiles("act_detr_request_duration_seconds", DETECT, which=(0.95,))[0].expr,
            "s",
            [(None, "green"), (0.5, "orange"), (1, "red")],
        ),
        number(
            "Within 1 s",
            "Share of /detect answered within 1 s in the last 3 days, all instances; the objective is 99 %.",
            "1 - max(job:act_detr_slow_requests:ratio_rate3d)",
            "percentunit",
            [(None, "red"), (0.99, "green")],
            decimals=2,
        ),
        number(
            "Errors",
            "Share of the detection requests that end in a 5xx, last 5 minutes, all instances.",
            "max(job:act_detr_errors:ratio_rate5m)",
            "percentunit",
            load,
            decimals=2,
        ),
        number(
            "Rejected",
            "Share of the images offered that are rejected, for whatever reason, last 5 minutes, all instances.",
            "max(sum by (job) (job_reason:act_detr_rejected:ratio_rate5m))",
            "percentunit",
            [(None, "green"), (0.05, "orange"), (0.25, "red")],
            decimals=2,
        ),
        states(
            "State",
            "Ready; up, but refusing requests (warming up, draining, device failed); or not answering Prometheus. "
            "Refusals are seen when somebody asks: probes do.",
            Query(STATE, "{{instance}}"),
            {2: ("ready", "green"), 1: ("not ready", "orange"), 0: ("down", "red")},
        ),
        labels(
            "Model",
            "What each instance serves.",
            f"act_detr_model_info{{{HERE}}}",
            ("instance", "name", "device", "precision", "version"),
        ),
    ]
