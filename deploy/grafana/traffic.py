"""What comes in, what is turned away, what waits."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import Query, density, graph
from deploy.grafana.queries import CHOSEN, HERE, buckets, mean, quantiles, rate


def row() -> list[Builder[Panel]]:
    """Return the panels, in order."""
    return [
        graph(
            "Requests by status",
            "Detection requests by HTTP status; 499: the caller left.",
            [
                Query(
                    rate(
                        f'act_detr_request_duration_seconds_count{{{HERE}, route=~"/detect.*"}}',
                        "route",
                        "status",
                    ),
                    "{{route}} {{status}}",
                )
            ],
            "reqps",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Images by attention",
            "Images answered, by how the encoder attended.",
            [Query(rate(f"act_detr_images_total{{{CHOSEN}}}", "attention"), "{{attention}}")],
            "images/s",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Rejections by reason",
            "Errors answered, by the problem's type; in /detect/batch each image counts. queue-full: 429, more load "
            "than the device takes. not-ready and draining are mostly answers to probes.",
            [Query(rate(f"act_detr_rejected_total{{{HERE}}}", "reason"), "{{reason}}")],
            "reqps",
            stacking=StackingMode.NORMAL,
        ),
        graph(
            "Queue depth",
            "Images that wait for the device.",
            [Query(f"act_detr_queue_depth{{{HERE}}}", "{{instance}}")],
            "images",
            width=6,
        ),
        graph(
            "Queue, share that is full",
            "Images that wait for the device, of those that may (ACT_DETR_MAX_QUEUE). When it is full, more get a 429.",
            [Query(f"act_detr_queue_depth{{{HERE}}} / act_detr_queue_limit{{{HERE}}}", "{{instance}}")],
            "percentunit",
            width=6,
            most=1,
            steps=[(None, "transparent"), (0.8, "orange"), (1, "red")],
        ),
        graph(
            "Queue wait",
            "How long images wait for the device.",
            quantiles("act_detr_stage_duration_seconds", f'{CHOSEN}, stage="queue"'),
            "s",
            width=6,
        ),
        graph(
            "In flight",
            "Detection requests under way, from the first byte of the body to the answer.",
            [Query(f"act_detr_inflight_requests{{{HERE}}}", "{{instance}}")],
            "short",
            width=6,
        ),
        density(
            "Batch size",
            "Batches by the number of images that ran together.",
            buckets("act_detr_batch_size", CHOSEN),
            "images",
            width=6,
        ),
        graph(
            "Mean batch size by attention",
            "Images that ran together. Images share a batch when they share attention and its parameters.",
            [Query(mean("act_detr_batch_size", CHOSEN, "attention"), "{{attention}}")],
            "images",
            width=6,
        ),
        graph(
            "Padding",
            "Share that padding each batch to one size would add: how unlike the images of a batch are.",
            [Query(mean("act_detr_padding_ratio", HERE), "mean")],
            "percentunit",
            width=6,
        ),
        graph(
            "Callers that left, memory that ran out",
            "Requests whose caller left before the answer, and batches that the device had no memory for.",
            [
                Query(rate(f"act_detr_cancelled_total{{{HERE}}}"), "cancelled"),
                Query(rate(f"act_detr_out_of_memory_total{{{HERE}}}"), "out of memory"),
            ],
            "ops",
            width=6,
        ),
    ]
