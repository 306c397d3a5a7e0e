"""The kinds of panels that the dashboards are made of, and what all dashboards share.

Of Grafana's foundation SDK; queries are Prometheus's. What a panel shows is said elsewhere.
"""

# ruff: noqa: FBT003 - Grafana's builders take flags by place

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from prometheus_names import label, series
from tollspan import semconv

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
_P = TypeVar("_P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
SERVICES: Final = 'job=~"$service"'
MODELS: Final = f'{label(semconv.GEN_AI_REQUEST_MODEL)}=~"$model"'
USD: Final = "currencyUSD"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
COUNT: Final = "short"
PER_SECOND: Final = "cps"
# Green, and from these values on yellow and red.
Limits = tuple[float, float]
_ALL: Final = models.VariableOption(selected=True, text="All", value="$__all")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    Attributes:
        expression: Of Prometheus.
        legend: The name of each of its series, or of its column.
        has_exemplars: Whether traces are shown beside it.
    """

    expression: str
    legend: str = ""
    has_exemplars: bool = False


def words(*attributes: str) -> str:
    """Return a legend of labels' values."""
    return " ".join(f"{{{{{label(one)}}}}}" for one in attributes)


def lines(
    title: str,
    *queries: Query,
    unit: str = COUNT,
    span: int = 12,
    says: str = "",
    is_stacked: bool = False,
) -> timeseries.Panel:
    """Draw series over time."""
    panel = (
        _begun(timeseries.Panel(), title, unit, span, says, height=8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .fill_opacity(25 if is_stacked else 8)
        .min(0)
    )
    if is_stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return _asked(panel, queries)


def number(
    title: str,
    expression: str,
    *,
    unit: str = COUNT,
    span: int = 4,
    says: str = "",
    limits: Limits | None = None,
) -> stat.Panel:
    """Show one number, large."""
    panel = (
        _begun(stat.Panel(), title, unit, span, says, height=4)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("0" if unit != SHARE else "none")
    )
    panel.thresholds(_steps(limits))
    return _asked(panel, [Query(expression)], is_instant=True)


def bars(
    title: str,
    query: Query,
    *,
    unit: str,
    span: int = 12,
    says: str = "",
    limits: Limits | None = None,
    most: float | None = None,
) -> bargauge.Panel:
    """Show the newest value of each series as a bar."""
    panel = (
        _begun(bargauge.Panel(), title, unit, span, says, height=8)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .min(0)
    )
    if most is not None:
        panel.max(most)
    panel.thresholds(_steps(limits))
    return _asked(panel, [query], is_instant=True)


def rows(
    title: str,
    *columns: tuple[Query, str],
    named: Sequence[tuple[str, str]],
    says: str = "",
) -> table.Panel:
    """Show a table: a row for each set of labels, a column for each query.

    Args:
        title: Of the panel.
        columns: Queries, whose legends are the columns' heads, and their units.
        named: Attributes that are columns, in order, and their heads.
        says: What the panel means.
    """
    panel = _begun(table.Panel(), title, COUNT, 24, says, height=9)
    heads = {f"Value #{_ref(place)}": query.legend for place, (query, _) in enumerate(columns)}
    labels = {label(attribute): head for attribute, head in named}
    shown = [*labels, *heads]
    options = {
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": {**labels, **heads},
    }
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))
    for query, unit in columns:
        unit_of = models.DynamicConfigValue(id_val="unit", value=unit)
        panel.override_by_name(query.legend, [unit_of])
    return _asked(panel, [query for query, _ in columns], is_instant=True, is_table=True)


def board(uid: str, title: str, says: str, *, has_models: bool = True) -> Dashboard:
    """Begin a dashboard: its variables, and links to the others."""
    made = (
        Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["tollspan"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("tollspan")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["tollspan"])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            DatasourceVariable("datasource")
            .label("Prometheus")
            .type("prometheus")
            .current(models.VariableOption(selected=True, text="default", value="default"))
        )
        .with_variable(_choice("service", "Service", "job"))
    )
    if has_models:
        made.with_variable(_choice("model", "Model", label(semconv.GEN_AI_REQUEST_MODEL)))
    return made


def _choice(name: str, head: str, of: str) -> QueryVariable:
    """Let people choose among the values of a label of decisions: every call has one."""
    decisions = series(semconv.METRIC_DECISIONS)
    return (
        QueryVariable(name)
        .label(head)
        .datasource(DATASOURCE)
        .query({"query": f"label_values({decisions}, {of})", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_ALL)
    )


def section(made: Dashboard, title: str, *panels: Panel) -> None:
    """Put a row of panels into a dashboard."""
    made.with_row(Row(title))
    for panel in panels:
        made.with_panel(panel)


def _begun(panel: _P, title: str, unit: str, span: int, says: str, height: int) -> _P:
    panel.title(title).datasource(DATASOURCE).unit(unit).span(span).height(height)
    if says:
        panel.description(says)
    return panel


def _asked(
    panel: _P, queries: Sequence[Query], *, is_instant: bool = False, is_table: bool = False
) -> _P:
    for place, query in enumerate(queries):
        target = Dataquery().expr(query.expression).ref_id(_ref(place)).datasource(DATASOURCE)
        target = target.instant() if is_instant else target.range()
        if query.has_exemplars:
            target.exemplar(True)
        if query.legend:
            target.legend_format(query.legend)
        if is_table:
            target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def _steps(limits: Limits | None) -> ThresholdsConfig:
    """Color by limits; in one color without any, since Grafana's own would be red from 80 on."""
    steps = [models.Threshold(color="blue" if limits is None else "green")]
    for value, color in zip(limits or (), ("yellow", "red"), strict=False):
        steps.append(models.Threshold(value=value, color=color))
    return ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
