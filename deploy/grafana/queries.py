"""PromQL that the panels share: who is meant, rates, means, quantiles, the state of an instance.

No query lists attention modes, stages, layers or reasons: what the service adds appears by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy.grafana.panels import Query

HERE: Final = 'instance=~"$instance"'
CHOSEN: Final = f'{HERE}, attention=~"$attention"'
DETECT: Final = f'{CHOSEN}, route="/detect", status="200"'
QUANTILES: Final = (0.5, 0.95, 0.99)
STATE: Final = f"""up{{job="act-detr", {HERE}}} * on (job, instance) (1 + (sum by (job, instance) (
  increase(act_detr_rejected_total{{{HERE}, reason=~"not-ready|draining|device-failed"}}[$__rate_interval])) == bool 0))
or on (job, instance) up{{job="act-detr", {HERE}}}"""


def rate(series: str, *by: str) -> str:
    """Return the sum of a counter's rates, by labels."""
    return f"sum by ({', '.join(by)}) (rate({series}[$__rate_interval]))"


def mean(histogram: str, selector: str, *by: str) -> str:
    """Return the mean of what a histogram saw, by labels; nothing where it saw nothing."""
    total, count = (rate(f"{histogram}_{part}{{{selector}}}", *by) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def buckets(histogram: str, selector: str) -> str:
    """Return a histogram's increases by bucket, as heatmaps want them."""
    return f"sum by (le) (increase({histogram}_bucket{{{selector}}}[$__rate_interval]))"


def quantiles(histogram: str, selector: str, *by: str, which: Sequence[float] = QUANTILES) -> list[Query]:
    """Return a query for each quantile, by labels."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return [
        Query(
            f"histogram_quantile({q}, {rate(f'{histogram}_bucket{{{selector}}}', *by, 'le')})",
            f"p{q * 100:g} {name}".strip(),
        )
        for q in which
    ]
