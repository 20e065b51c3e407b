"""The Grafana dashboard, as code: its rows and panels, the variables at its top, the annotations in all panels.

After a change: `python -m deploy.grafana.dashboard > deploy/grafana/dashboards/act-detr.json`.

No query lists attention modes, stages, layers or reasons: what the service adds appears by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    Panel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.panels import SOURCE, Query, graph, labels, number, states

INSTANCE: Final = 'instance=~"$instance"'
PROCESS: Final = f'job="act-detr", {INSTANCE}'
CHOSEN: Final = f'{INSTANCE}, attention=~"$attention"'
DETECT: Final = f'{CHOSEN}, route="/detect", status="200"'
REFUSES: Final = f'{INSTANCE}, reason=~"not-ready|draining|device-failed"'
STATE: Final = f"""up{{{PROCESS}}} * on (job, instance) (1 + (sum by (job, instance) (
  increase(act_detr_rejected_total{{{REFUSES}}}[$__rate_interval])) == bool 0))
or on (job, instance) up{{{PROCESS}}}"""
Panels = list[Builder[Panel]]


def rate(series: str, *by: str) -> str:
    """Return the sum of a counter's rates, by labels."""
    return f"sum by ({', '.join(by)}) (rate({series}[$__rate_interval]))"


def quantiles(histogram: str, selector: str, *by: str, which: Sequence[float] = (0.5, 0.95, 0.99)) -> list[Query]:
    """Return a query for each quantile, by labels."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    buckets = rate(f"{histogram}_bucket{{{selector}}}", *by, "le")
    return [Query(f"histogram_quantile({q}, {buckets})", f"p{q * 100:g} {name}".strip()) for q in which]


def overview() -> Panels:
    """Return the numbers to read from across the room."""
    return [
        number(
            "Ready",
            "Share of the instances that Prometheus knows which answer, and refuse no request for warming up, draining "
            "or a failed device.",
            f"avg(({STATE}) == bool 2)",
            "percentunit",
            [(None, "red"), (0.5, "orange"), (1, "green")],
            width=4,
        ),
        number(
            "Alerts firing",
            "Alerts of this service; Prometheus lists them under Alerts, docs/operations.md says what to do.",
            'count(ALERTS{alertname=~"ActDetr.*", alertstate="firing"}) or vector(0)',
            "short",
            [(None, "green"), (1, "red")],
        ),
        number(
            "Latency p95",
            "95 of 100 answered /detect requests took at most this long. The objective: at most one in a hundred takes "
            "longer than 1 s.",
            quantiles("act_detr_request_duration_seconds", DETECT, which=(0.95,))[0].expr,
            "s",
            [(None, "green"), (0.5, "orange"), (1, "red")],
        ),
        number(
            "Errors",
            "Share of the detection requests that end in a 5xx, last 5 minutes, all instances.",
            "max(job:act_detr_errors:ratio_rate5m)",
            "percentunit",
            [(None, "green"), (0.01, "orange"), (0.05, "red")],
            decimals=2,
        ),
        number(
            "Rejected",
            "Share of the images offered that are rejected, for any reason, last 5 minutes, all instances.",
            "max(sum by (job) (job_reason:act_detr_rejected:ratio_rate5m))",
            "percentunit",
            [(None, "green"), (0.05, "orange"), (0.25, "red")],
            decimals=2,
        ),
        states(
            "State",
            "Ready; up, but refusing requests (warming up, draining, device failed); or not answering Prometheus. "
            "Refusals show when requests come: probes are requests.",
            Query(STATE, "{{instance}}"),
            {2: ("ready", "green"), 1: ("not ready", "orange"), 0: ("down", "red")},
        ),
        labels(
            "Model",
            "The model that each instance serves.",
            f"act_detr_model_info{{{INSTANCE}}}",
            ("instance", "name", "device", "precision", "version"),
        ),
    ]


def latency() -> Panels:
    """Return how long callers wait, and where the time goes."""
    return [
        graph(
            "Request latency by attention",
            "Quantiles of answered /detect requests, from the headers to the end of the answer, by attention mode.",
            quantiles("act_detr_request_duration_seconds", DETECT, "attention"),
            "s",
            steps=[(None, "transparent"), (1, "red")],
        ),
        graph(
            "Latency of every stage, p95",
            "read: the body arrives; wait: for a thread that decodes; queue: for the device; inference: the batch on "
            "the device.",
            quantiles("act_detr_stage_duration_seconds", CHOSEN, "stage", "attention", which=(0.95,)),
            "s",
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


def traffic() -> Panels:
    """Return what comes in, what is refused, what waits and for how long."""
    requests = f'act_detr_request_duration_seconds_count{{{INSTANCE}, route=~"/detect.*|/v2/.*/infer"}}'
    return [
        graph(
            "Requests by status",
            "Detection requests by HTTP status; 499: the caller left.",
            [Query(rate(requests, "route", "status"), "{{route}} {{status}}")],
            "reqps",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Rejections by reason",
            "Errors answered, by the problem's type; in /detect/batch each image counts. queue-full: 429, more load "
            "than the device takes. not-ready and draining are mostly answers to probes.",
            [Query(rate(f"act_detr_rejected_total{{{INSTANCE}}}", "reason"), "{{reason}}")],
            "reqps",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Queue and requests in flight",
            "Images that wait for the device, the number that may (ACT_DETR_MAX_QUEUE; more get a 429), and detection "
            "requests under way from the first byte of the body to the answer.",
            [
                Query(f"act_detr_queue_depth{{{INSTANCE}}}", "{{instance}}: queue"),
                Query(f"act_detr_queue_limit{{{INSTANCE}}}", "{{instance}}: limit"),
                Query(f"act_detr_inflight_requests{{{INSTANCE}}}", "{{instance}}: in flight"),
            ],
            "short",
        ),
        graph(
            "Batch size by attention",
            "Images that ran together. Images share a batch when they share attention and its parameters.",
            quantiles("act_detr_batch_size", CHOSEN, "attention", which=(0.5, 0.95)),
            "images",
            width=12,
        ),
        graph(
            "Predicted wait",
            "Time until an image that arrives now would begin to run, by the predicted cost of those before it: what "
            "Retry-After says.",
            [Query(f"act_detr_queue_wait_seconds{{{INSTANCE}}}", "{{instance}}")],
            "s",
            width=12,
        ),
        graph(
            "Device time over its prediction",
            "Of a batch. Where the median is far from 1, images are refused too early, or wait past their deadline.",
            quantiles("act_detr_prediction_ratio", INSTANCE, which=(0.05, 0.5, 0.95)),
            "short",
            width=12,
        ),
        graph(
            "Present rung",
            "Rung of the ladder that makes images cheaper under load; 0 without load, or without ACT_DETR_TARGET_MS.",
            [Query(f"act_detr_rung{{{INSTANCE}}}", "{{instance}}")],
            "short",
            width=12,
        ),
        graph(
            "Images by rung",
            "Images answered whose rung the ladder chose: 0 is as without load, the others are cheaper and less "
            "accurate. None without ACT_DETR_TARGET_MS.",
            [Query(rate(f"act_detr_rung_images_total{{{INSTANCE}}}", "rung"), "rung {{rung}}")],
            "images/s",
            width=12,
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Cancelled requests, memory that ran out",
            "Requests whose caller left before the answer, and batches that the device had no memory for.",
            [
                Query(rate(f"act_detr_cancelled_total{{{INSTANCE}}}"), "cancelled"),
                Query(rate(f"act_detr_out_of_memory_total{{{INSTANCE}}}"), "out of memory"),
            ],
            "ops",
            width=12,
        ),
    ]


def attention() -> Panels:
    """Return the attention modes side by side: what they cost, how far they cluster and merge, what they find."""
    inference = f'{CHOSEN}, stage="inference"'
    left = rate(f"act_detr_merged_tokens_sum{{{INSTANCE}}}")
    merges = rate(f"act_detr_merged_tokens_count{{{INSTANCE}}}")
    return [
        graph(
            "Images by attention",
            "Images answered, by attention mode.",
            [Query(rate(f"act_detr_images_total{{{CHOSEN}}}", "attention"), "{{attention}}")],
            "images/s",
            width=12,
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Inference time by attention",
            "Time of an image's batch on the device, by attention mode. Compares the images that came: modes compare "
            "where they got similar ones.",
            quantiles("act_detr_stage_duration_seconds", inference, "attention", which=(0.5, 0.95)),
            "s",
            width=12,
        ),
        graph(
            "C / N by layer",
            "Median share of clusters among the positions that a layer attends over, of ACT, tangent attention and "
            "merged tokens that are clustered. Near 1 clustering saves nothing; near 0 the queries have become one, "
            "and detections suffer.",
            quantiles("act_detr_cluster_ratio", INSTANCE, "attention", "layer", which=(0.5,)),
            "percentunit",
            width=12,
            maximum=1,
            steps=[(None, "red"), (0.02, "transparent"), (0.95, "red")],
        ),
        graph(
            "Encoder tokens",
            "Positions N that the encoder gets, per image or tile: `auto` chooses the attention by them. With "
            "`attention=merge`, also the mean of those that are left after merging.",
            [
                *quantiles("act_detr_encoder_tokens", INSTANCE, which=(0.5, 0.95)),
                Query(f"{left} / ({merges} > 0)", "mean left after merging"),
            ],
            "short",
            width=12,
        ),
        graph(
            "Detections by class",
            "Detections returned a second: the ten most frequent classes.",
            [Query(f"topk(10, {rate(f'act_detr_detections_total{{{INSTANCE}}}', 'label')})", "{{label}}")],
            "short",
            width=12,
            stacking=StackingMode.NORMAL,
        ),
    ]


def fidelity() -> Panels:
    """Return what approximate attention changes, by comparisons with exact attention (ACT_DETR_SHADOW_RATE)."""
    missed = rate(f"act_detr_shadow_missed_detections_total{{{CHOSEN}}}", "attention")
    extra = rate(f"act_detr_shadow_extra_detections_total{{{CHOSEN}}}", "attention")
    matched = rate(f"act_detr_shadow_matched_iou_count{{{CHOSEN}}}", "attention")
    return [
        graph(
            "Missed and extra detections",
            "Missed: share of exact attention's detections that requests did not get. Extra: share of what requests "
            "got that exact attention does not give. The alert asks for the first, over an hour.",
            [
                Query(f"{missed} / ({missed} + {matched})", "missed {{attention}}"),
                Query(f"{extra} / ({extra} + {matched})", "extra {{attention}}"),
            ],
            "percentunit",
            width=12,
            steps=[(None, "transparent"), (0.1, "red")],
        ),
        graph(
            "IoU of matched detections",
            "How exactly the boxes agree that both found: the lower quantiles show how far the worst are off.",
            quantiles("act_detr_shadow_matched_iou", CHOSEN, "attention", which=(0.05, 0.5)),
            "percentunit",
            width=12,
            maximum=1,
        ),
        graph(
            "Score drift of matched detections",
            "Absolute difference of the scores of a detection and the one by exact attention.",
            quantiles("act_detr_shadow_score_drift", CHOSEN, "attention", which=(0.5, 0.95)),
            "short",
            width=12,
        ),
        graph(
            "Images compared and dropped",
            "Images that ran again with exact attention while the device was idle, and those that were to, but gave "
            "way to a request, or were too many. ACT_DETR_SHADOW_RATE is how many are to.",
            [
                Query(rate(f"act_detr_shadow_images_total{{{CHOSEN}}}", "attention"), "compared {{attention}}"),
                Query(rate(f"act_detr_shadow_dropped_total{{{CHOSEN}}}", "reason"), "{{reason}}"),
            ],
            "images/s",
            width=12,
        ),
        graph(
            "Device time of comparisons",
            "Share of a thread's time that comparisons take, which would be idle otherwise.",
            [Query(rate(f"act_detr_shadow_device_seconds_total{{{CHOSEN}}}", "instance"), "{{instance}}")],
            "percentunit",
            width=12,
        ),
    ]


def resources() -> Panels:
    """Return what the service uses."""
    return [
        graph(
            "Device memory",
            "Memory that the model's device has allocated, and what it has in all; both 0 on a CPU, whose memory is "
            "the process's.",
            [
                Query(f"act_detr_device_memory_bytes{{{INSTANCE}}}", "{{instance}}"),
                Query(f"act_detr_device_memory_limit_bytes{{{INSTANCE}}}", "{{instance}}: in all"),
            ],
            "bytes",
        ),
        graph(
            "Process memory",
            "Resident memory.",
            [Query(f"process_resident_memory_bytes{{{PROCESS}}}", "{{instance}}")],
            "bytes",
        ),
        graph(
            "CPU",
            "Cores in use.",
            [Query(f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])", "{{instance}}")],
            "short",
        ),
    ]


def variables() -> list[Builder[VariableModel]]:
    """Return the choices at the top."""
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(text="Prometheus", value="prometheus")),
        _choice("instance", "Instance", 'label_values(up{job="act-detr"}, instance)'),
        _choice("attention", "Attention", "label_values(act_detr_stage_duration_seconds_count, attention)"),
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


def event_lines() -> list[Builder[AnnotationQuery]]:
    """Return the events that are lines through all panels."""
    alerts = 'ALERTS{alertname=~"ActDetr.*", alertstate="firing"}'
    starts = f"changes(process_start_time_seconds{{{PROCESS}}}[$__rate_interval]) > 0"
    return [
        dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)
        for name, color, expr in (("Alerts", "red", alerts), ("Restarts", "blue", starts))
    ]


def build() -> Dashboard:
    """Put the rows together."""
    board = (
        dashboard.Dashboard("act-detr")
        .uid("act-detr")
        .description("Object detection by several attention modes: latency, load, clusters, resources.")
        .tags(["act-detr"])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .variables(variables())
        .annotations(event_lines())
    )
    rows = (
        ("Overview", overview()),
        ("Latency", latency()),
        ("Traffic and queue", traffic()),
        ("Attention modes", attention()),
        ("Fidelity on live traffic", fidelity()),
        ("Resources", resources()),
    )
    for title, row in rows:
        board.with_row(dashboard.Row(title))
        for panel in row:
            board.with_panel(panel)
    built = board.build()
    for index, numbered in enumerate(built.panels or [], start=1):
        numbered.id_val = index
    return built


def main() -> None:
    """Print the dashboard's JSON."""
    print(json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False))


if __name__ == "__main__":
    main()
