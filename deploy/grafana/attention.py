"""Exact attention against ACT: what clustering does, and what it gains."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import Query, density, graph
from deploy.grafana.queries import CHOSEN, HERE, buckets, mean, quantiles, rate


def row() -> list[Builder[Panel]]:
    """Return the panels, in order."""
    inference = f'{CHOSEN}, stage="inference"'
    by_mode = mean("act_detr_stage_duration_seconds", f'{HERE}, stage="inference"', "attention")
    exact = mean("act_detr_stage_duration_seconds", f'{HERE}, stage="inference", attention="exact"')
    return [
        graph(
            "Inference time by attention",
            "Time of an image's batch on the device, by how the encoder attended.",
            quantiles("act_detr_stage_duration_seconds", inference, "attention", which=(0.5, 0.95)),
            "s",
        ),
        graph(
            "Inference time relative to exact",
            "Mean time on the device over that with exact attention: below 1 clustering saves time. Compares what "
            "came in, so look at it when both kinds got alike images.",
            [Query(f"{by_mode} / on () group_left () ({exact})", "{{attention}}")],
            "short",
            steps=[(None, "transparent"), (1, "orange")],
        ),
        graph(
            "Share of images by attention",
            "Which kind of attention answered images ran with.",
            [Query(rate(f"act_detr_images_total{{{CHOSEN}}}", "attention"), "{{attention}}")],
            "images/s",
            stacking=StackingMode.PERCENT,
        ),
        graph(
            "Clusters C by layer",
            "Mean number of clusters of an encoder layer: how many queries really attended.",
            [Query(mean("act_detr_clusters", HERE, "attention", "layer"), "{{attention}} layer {{layer}}")],
            "short",
        ),
        graph(
            "C / N by layer",
            "Mean share of clusters among positions. Near 1 clustering saves nothing; near 0 the queries have become "
            "one, and detections suffer.",
            [Query(mean("act_detr_cluster_ratio", HERE, "attention", "layer"), "{{attention}} layer {{layer}}")],
            "percentunit",
            most=1,
            steps=[(None, "red"), (0.02, "transparent"), (0.95, "red")],
        ),
        density(
            "C / N of all layers",
            "Images and layers by their share of clusters among positions.",
            buckets("act_detr_cluster_ratio", HERE),
            "percentunit",
            width=8,
        ),
        density(
            "Encoder positions N",
            "Images by the number of positions that the encoder attends over: the size that attention's cost grows "
            "with.",
            buckets("act_detr_encoder_tokens", HERE),
            "short",
        ),
        graph(
            "Detections by class",
            "Detections returned a second: the ten most frequent classes.",
            [Query(f"topk(10, {rate(f'act_detr_detections_total{{{HERE}}}', 'label')})", "{{label}}")],
            "short",
            width=12,
            stacking=StackingMode.NORMAL,
        ),
    ]
