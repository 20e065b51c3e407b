"""How long callers wait, and what for."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import Query, density, graph
from deploy.grafana.queries import CHOSEN, DETECT, buckets, mean, quantiles


def row() -> list[Builder[Panel]]:
    """Return the panels, in order."""
    chosen_stage = f'{CHOSEN}, stage="$stage"'
    return [
        density(
            "Request latency",
            "Answered /detect requests by how long they took, from the headers to the end of the answer.",
            buckets("act_detr_request_duration_seconds", DETECT),
            "s",
        ),
        graph(
            "Request latency by attention",
            "Quantiles of answered /detect requests, by how the encoder attended.",
            quantiles("act_detr_request_duration_seconds", DETECT, "attention"),
            "s",
            width=12,
            steps=[(None, "transparent"), (1, "red")],
        ),
        density(
            "Latency of stage $stage",
            "Images by the time that they spent in the stage chosen at the top.",
            buckets("act_detr_stage_duration_seconds", chosen_stage),
            "s",
        ),
        graph(
            "Latency of stage $stage by attention",
            "Quantiles of the time that an image spends in the stage chosen at the top.",
            quantiles("act_detr_stage_duration_seconds", chosen_stage, "attention"),
            "s",
            width=12,
        ),
        graph(
            "Latency of every stage, p95",
            "read: the body arrives; wait: for a thread that decodes; queue: for the device; inference: the batch on "
            "the device.",
            quantiles("act_detr_stage_duration_seconds", CHOSEN, "stage", "attention", which=(0.95,)),
            "s",
        ),
        graph(
            "Where the time goes",
            "Mean time of an image in each stage, stacked.",
            [Query(mean("act_detr_stage_duration_seconds", CHOSEN, "stage"), "{{stage}}")],
            "s",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Burn rate of the latency budget",
            "How many times faster than allowed slow requests use up the month's budget (1 % slower than 1 s), all "
            "instances. Alerts: 14.4 over an hour, 6 over six hours, 1 over three days.",
            [
                Query(f"max(job:act_detr_slow_requests:ratio_rate{window}) / 0.01", window)
                for window in ("5m", "1h", "6h", "3d")
            ],
            "short",
            steps=[(None, "transparent"), (1, "yellow"), (6, "orange"), (14.4, "red")],
        ),
    ]
