"""What the service uses."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from deploy.grafana.panels import Query, graph
from deploy.grafana.queries import HERE


def row() -> list[Builder[Panel]]:
    """Return the panels, in order."""
    ours = f'job="act-detr", {HERE}'
    return [
        graph(
            "Device memory",
            "Memory that the model's device has allocated, and what it has in all; both 0 on a CPU, where the "
            "process's memory has it.",
            [
                Query(f"act_detr_device_memory_bytes{{{HERE}}}", "{{instance}}"),
                Query(f"act_detr_device_memory_limit_bytes{{{HERE}}}", "{{instance}}: in all"),
            ],
            "bytes",
        ),
        graph(
            "Process memory",
            "Resident memory.",
            [Query(f"process_resident_memory_bytes{{{ours}}}", "{{instance}}")],
            "bytes",
        ),
        graph(
            "CPU",
            "Cores in use.",
            [Query(f"rate(process_cpu_seconds_total{{{ours}}}[$__rate_interval])", "{{instance}}")],
            "short",
        ),
        graph(
            "Open files",
            "Open file descriptors, of those allowed.",
            [Query(f"process_open_fds{{{ours}}} / process_max_fds{{{ours}}}", "{{instance}}")],
            "percentunit",
            steps=[(None, "transparent"), (0.8, "red")],
        ),
        graph(
            "Uptime",
            "Time since the process started: a saw is a crash loop.",
            [Query(f"time() - process_start_time_seconds{{{ours}}}", "{{instance}}")],
            "s",
        ),
        graph(
            "Scrape duration",
            "How long /metrics takes: more than a moment means that the event loop is held up.",
            [Query(f"scrape_duration_seconds{{{ours}}}", "{{instance}}")],
            "s",
        ),
    ]
