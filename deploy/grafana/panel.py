"""The few kinds of panel that the dashboards are made of.

Every panel has a title, a description, a unit and at least one target on the data source variable; `alerts` names the
alerts whose runbooks it links to.
"""

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries, trend
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24  # of Grafana's grid


def target(expression, legend="", ref_id="A", instant=False, as_table=False):
    query = prometheus.Dataquery().datasource(SOURCE).ref_id(ref_id).expr(expression).legend_format(legend)
    if as_table:
        query.format(prometheus_model.PromQueryFormat.TABLE)
    return query.instant() if instant else query.range()


def _common(panel, title, description, unit, queries, alerts, size, instant=False, as_table=False):
    panel.title(title).description(description).datasource(SOURCE).unit(unit).span(size[0]).height(size[1])
    for index, (expression, legend) in enumerate(queries):
        panel.with_target(target(expression, legend, chr(ord("A") + index), instant, as_table))
    if alerts:
        panel.links([
            dashboard.DashboardLink(f"Runbook: {alert}").type(model.DashboardLinkType.LINK)
            .url(f"${{runbooks}}/{alert}.md").target_blank(True) for alert in alerts
        ])
    return panel


def _thresholds(limits):
    """`limits`: (value, colour) ascending; below the first it is green."""
    steps = [model.Threshold(value=None, color="green")] + [model.Threshold(value=v, color=c) for v, c in limits]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def curves(title, description, unit, queries, alerts=(), size=(12, 8), log=False, limits=(), stacked=False, bars=False,
           from_zero=False):
    panel = _common(timeseries.Panel(), title, description, unit, queries, alerts, size)
    panel.legend(common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.LIST).show_legend(True)
                 .placement(common_model.LegendPlacement.BOTTOM).calcs(["lastNotNull"]))
    panel.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
                  .sort(common_model.SortOrder.DESCENDING))
    panel.fill_opacity(100 if bars else 25 if stacked else 0).line_width(1)
    panel.show_points(common_model.VisibilityMode.AUTO)
    if bars:
        panel.draw_style(common_model.GraphDrawStyle.BARS)
    if log:
        panel.scale_distribution(
            common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LOG).log(10))
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if from_zero:
        panel.min(0)
    if limits:
        panel.thresholds(_thresholds(limits))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED))
    return panel


def number(title, description, unit, expression, legend="{{job_id}}", alerts=(), size=(4, 4), limits=(), decimals=None,
           names=False):
    """The latest value of each series; `names`: the names of the series instead."""
    panel = _common(stat.Panel(), title, description, unit, [(expression, legend)], alerts, size, instant=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.graph_mode(common_model.BigValueGraphMode.NONE)
    panel.text_mode(common_model.BigValueTextMode.NAME if names else common_model.BigValueTextMode.VALUE_AND_NAME)
    panel.color_mode(common_model.BigValueColorMode.VALUE if limits else common_model.BigValueColorMode.NONE)
    panel.thresholds(_thresholds(limits))
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def heat(title, description, expression, legend, alerts=(), size=(12, 9), repeat=None, unit="none"):
    """One row of cells per series, in the order of the series; where `repeat`, one panel per value of the variable."""
    panel = _common(heatmap.Panel(), title, description, unit, [(expression, legend)], alerts, size)
    panel.calculate(False)
    panel.color(heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("Turbo").steps(64))
    panel.cell_gap(0)
    panel.show_value(common_model.VisibilityMode.NEVER)
    panel.rows_frame(heatmap.RowsHeatmapOptions().layout(common_model.HeatmapCellLayout.AUTO))
    panel.y_axis(heatmap.YAxisConfig().axis_placement(common_model.AxisPlacement.LEFT).axis_label("sub-layer"))
    panel.show_legend()
    if repeat:
        panel.repeat(repeat).repeat_direction("h").max_per_row(2)
    return panel


def profile(title, description, unit, queries, field, alerts=(), size=(12, 8), log=False):
    """The present values over the label `field`, a number, instead of over time."""
    panel = _common(trend.Panel(), title, description, unit, queries, alerts, size, instant=True, as_table=True)
    panel.x_field(field)
    panel.with_transformation(model.DataTransformerConfig(id_val="joinByField", options={"byField": field, "mode": "outer"}))
    panel.with_transformation(model.DataTransformerConfig(
        id_val="convertFieldType",
        options={"fields": {}, "conversions": [{"targetField": field, "destinationType": "number"}]}))
    panel.with_transformation(model.DataTransformerConfig(
        id_val="sortBy", options={"fields": {}, "sort": [{"field": field}]}))
    panel.with_transformation(model.DataTransformerConfig(
        id_val="organize", options={
            "excludeByName": {name: True for name in ("Time", "Time 1", "Time 2")},
            "renameByName": {f"Value #{chr(ord('A') + i)}": legend for i, (_, legend) in enumerate(queries)}}))
    if log:
        panel.scale_distribution(
            common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LOG).log(10))
    return panel


def rows(title, description, unit, queries, alerts=(), size=(24, 8), hide=()):
    """A table with a row per series and a column per label and query."""
    panel = _common(table.Panel(), title, description, unit, queries, alerts, size, instant=True, as_table=True)
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(model.DataTransformerConfig(
        id_val="organize", options={
            "excludeByName": {name: True for name in ("Time", *hide)},
            "renameByName": {"Value" if len(queries) == 1 else f"Value #{chr(ord('A') + i)}": legend
                             for i, (_, legend) in enumerate(queries)}}))
    return panel
