"""The settings of a trade-off, read from its results: the rows of all seeds together, and what is lost at a cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.attention_config import AttentionConfig
from models.reproduction.sweep import family

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """Rows that differ only in the seed."""

    attention: str
    rows: tuple[Mapping[str, Any], ...]

    @property
    def family(self) -> str:
        """Return the name of its line in a plot."""
        return family(self.attention)

    def __getitem__(self, field: str) -> Any:
        """Return the mean of a number, or of the ends of an interval, over the seeds; None where there is none."""
        values = [row[field] for row in self.rows if row[field] is not None]
        return np.mean(values, axis=0).tolist() if values else None


def settings_of(rows: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """Group the rows that differ only in the seed, in the order of their first; exact attention comes first.

    `encoder_cost` of a setting is the multiply-adds of its whole encoder over those of exact attention's.
    """
    exact, *_ = rows
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        setting = str(replace(AttentionConfig.parse(row["attention"]), seed=0))
        groups[setting].append({**row, "encoder_cost": row["encoder_gflops"] / exact["encoder_gflops"]})
    return [Setting(attention, tuple(group)) for attention, group in groups.items()]


def lost_at(
    settings: Sequence[Setting], name: str, cost: float, before_ap: float | None = None
) -> tuple[float | None, Interval | None]:
    """Return the points of AP (of 100) that a family loses at a cost, and the 95 % interval.

    Against exact attention, which is first in `settings`, or against `before_ap`, that of exact attention before
    distillation. Linear between the two settings on either side of `cost`; where all cost less, that of the most
    expensive one. The loss is None where all cost more, the interval also where none was measured.
    """
    own = sorted((one for one in settings if one.family == name), key=lambda one: one["cost"])
    costs = [one["cost"] for one in own]
    if cost < costs[0]:
        return None, None
    reference = settings[0]["ap"] if before_ap is None else before_ap
    lost = float(np.interp(cost, costs, [100 * (reference - one["ap"]) for one in own]))
    intervals = [one["lost_interval" if before_ap is None else "lost_since"] for one in own]
    if None in intervals:
        return lost, None
    low, high = (float(np.interp(cost, costs, ends)) for ends in zip(*intervals, strict=True))
    return lost, (low, high)
