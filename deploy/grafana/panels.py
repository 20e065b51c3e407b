"""The kinds of panels that the dashboard is made of: one look, units, legends, thresholds, a description each.

Widths are in the 24 columns of Grafana's grid, heights in its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as shapes
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
Steps = Sequence[tuple[float | None, str]]
"""Colours from these values on, lowest first; the first has no value."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the name of its series: `{{label}}` stands for a label's value."""

    expr: str
    legend: str = ""


def graph(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 8,
    stacking: looks.StackingMode = looks.StackingMode.NONE,
    maximum: float | None = None,
    steps: Steps = (),
) -> timeseries.Panel:
    """Return lines over time, from 0 to `maximum`; with `steps`, dashed lines at their values."""
    stacked = stacking is not looks.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(8)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(40 if stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(stacking).group("A"))
        .color_scheme(dashboard.FieldColor().mode(shapes.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
        .legend(_legend())
    )
    if maximum is not None:
        panel.max(maximum)
    if steps:
        panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        )
    for index, query in enumerate(queries):
        panel.with_target(_target(query, index))
    return panel


def number(
    title: str, description: str, expr: str, unit: str, steps: Steps, *, width: int = 5, decimals: int | None = None
) -> stat.Panel:
    """Return the latest value of `expr`, in the colour of its step, over the line that it drew."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(4)
        .unit(unit)
        .min(0)
        .thresholds(thresholds(steps))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(expr), 0))
    )
    return panel if decimals is None else panel.decimals(decimals)


def states(
    title: str, description: str, query: Query, names: Mapping[int, tuple[str, str]], *, width: int = 12
) -> statetimeline.Panel:
    """Return a bar a series, coloured by its value; `names` are the text and colour of each value."""
    texts = {
        str(value): shapes.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(6)
        .mappings([shapes.ValueMap(texts)])
        .color_scheme(dashboard.FieldColor().mode(shapes.FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds([(None, "text")]))
        .show_value(looks.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM))
        .with_target(_target(query, 0))
    )


def labels(title: str, description: str, expr: str, columns: Sequence[str], *, width: int = 12) -> table.Panel:
    """Return a row a series of `expr`, now, with these of its labels as columns."""
    hidden = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
    order = {name: index for index, name in enumerate(columns)}
    arranged: dict[str, Any] = {"excludeByName": hidden, "indexByName": order, "renameByName": {}}
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(6)
        .with_target(_target(Query(expr), 0).instant().format(PromQueryFormat.TABLE))
        .with_transformation(shapes.DataTransformerConfig(id_val="organize", options=arranged))
    )


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return the thresholds of `steps`."""
    rows = [shapes.Threshold(value, color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(shapes.ThresholdsMode.ABSOLUTE).steps(rows)


def _target(query: Query, index: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .ref_id(chr(ord("A") + index))
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .range()
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(looks.LegendDisplayMode.TABLE)
        .placement(looks.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["mean", "max", "lastNotNull"])
        .sort_by("Mean")
        .sort_desc(True)
    )
