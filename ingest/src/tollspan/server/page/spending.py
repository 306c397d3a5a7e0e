"""`/spend`: what was spent by any dimension, from the whole down to one session's calls.

It asks the books through the parameters of `/v1/usage`, so what is shown is what that answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tollspan.ledger.central import (
    CentralLedger,
    TooMuchError,
    UsagePage,
    UsageQuery,
    UsageSums,
)
from tollspan.server.problems import ProblemError
from tollspan.server.questions import UNATTRIBUTED, CallParameters, write_cursor
from tollspan.server.reports import UsageParameters

from .charts import Chart, chart, share
from .links import address, filter_pair, filter_pairs
from .presenting import PageRoute, show
from .ranged import Ranged, hidden_pairs, total_of, within
from .ranges import RANGES, Span
from .visiting import Place, Visits

PATH: Final = "/spend"
DRILL: Final = ("customer", "model", "feature", "agent", "session", "step", "service")
"""Which dimension comes next when somebody looks closer."""
CHOICES: Final = (
    "customer", "model", "feature", "agent", "provider", "operation", "team", "project", "service",
    "environment", "session", "user", "step", "outcome",
)  # fmt: skip
_ROWS: Final = 50


class SpendParameters(CallParameters, Ranged):
    """What the address of the view says. Empty fields, as a form sends them, say nothing."""

    by: str = Field("", max_length=100, description="a dimension")
    tag: list[Annotated[str, Field(max_length=512)]] = Field([], max_length=8)

    def query(self, span: Span) -> UsageQuery:
        """Return what `/v1/usage` would ask the books.

        Raises:
            ProblemError: Something in it is wrong.
        """
        own = {"tenant", "by", "range", "since", "until", "cursor"}
        said = self.model_dump(exclude=own, exclude_none=True)
        parameters = UsageParameters.model_validate(
            {
                **said, "group_by": self.by, "from": span.since, "to": span.until,
                "order": "cost", "cursor": self.cursor, "limit": _ROWS,
            }
        )  # fmt: skip
        return parameters.query()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a value, where to look closer, its sums, and its part of the whole."""

    value: str | None
    link: str | None
    sums: UsageSums
    share: str


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A value that calls must have, and the address without it."""

    dimension: str
    value: str
    without: str


def spending_routes(
    ledger: CentralLedger, visits: Visits, now: Callable[[], datetime]
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def spend(request: Request, asked: Annotated[SpendParameters, Query()]) -> Response:
        """Show what was spent, by a dimension."""
        place = visits.place(request)
        at = now()
        span = asked.span(at)
        return _shown(ledger, place, asked, span)

    return router


def _shown(ledger: CentralLedger, place: Place, asked: SpendParameters, span: Span) -> Response:
    query = asked.query(span)
    if len(query.group_by) > 1:
        raise ProblemError(400, "query.by: expected one dimension")
    if not query.group_by:
        first = next((name for name in DRILL if name not in query.where), DRILL[0])
        query = msgspec.structs.replace(query, group_by=(first,))
    dimension = query.group_by[0]
    try:
        page = ledger.usage.usage(place.tenant, query)
        total = total_of(ledger, place.tenant, query)
    except TooMuchError as error:
        raise ProblemError(400, f"{error}".capitalize() + ".", type="too_much") from None
    hidden = hidden_pairs(place)
    kept = [*hidden, *asked.time_pairs]
    filters = filter_pairs(query.where)
    start, later = _pages(query, page, dimension, kept, filters)
    return show(
        "spend", visitor=place.visitor, tenant=place.tenant, here="spend", span=span,
        dimension=dimension, choices=CHOICES, ranges=RANGES, asked=asked, total=total,
        rows=_rows(page, dimension, total, query.where, kept),
        chart=picture(ledger, place.tenant, span, query.where),
        filters=_filters(query.where, dimension, kept), pairs=filters,
        hidden=hidden, api=_api(query, span, dimension), start=start, later=later,
        fields=[(name, _said(query.where, name)) for name in CHOICES],
    )  # fmt: skip


def picture(
    ledger: CentralLedger, tenant: str, span: Span, where: Mapping[str, str | None]
) -> Chart | None:
    """Return spend over time; None where there is none, or too much would have to be read."""
    bucket = span.bucket
    query = msgspec.structs.replace(within(span, where), bucket=bucket, most=1_000)
    try:
        rows = ledger.usage.usage(tenant, query).rows
    except TooMuchError:
        return None
    costs = {row.start_unix_ns or 0: row.sums.cost_nanousd for row in rows}
    return chart(span, bucket, costs)


def _rows(
    page: UsagePage,
    dimension: str,
    total: UsageSums,
    where: Mapping[str, str | None],
    kept: list[tuple[str, str]],
) -> list[Row]:
    following = next((name for name in DRILL if name != dimension and name not in where), None)
    found: list[Row] = []
    for row in page.rows:
        (value,) = row.values
        pairs = [*kept, *filter_pairs({**where, dimension: value})]
        link = None if following is None else address(PATH, [*pairs, ("by", following)])
        part = share(row.sums.cost_nanousd, total.cost_nanousd)
        found.append(Row(value=value, link=link, sums=row.sums, share=part))
    return found


def _filters(
    where: Mapping[str, str | None], dimension: str, kept: list[tuple[str, str]]
) -> list[Filter]:
    return [
        Filter(
            dimension=name,
            value=UNATTRIBUTED if value is None else value,
            without=address(
                PATH,
                [*kept, *filter_pairs({n: v for n, v in where.items() if n != name}),
                 ("by", dimension)],
            ),
        )
        for name, value in where.items()
    ]  # fmt: skip


def _pages(
    query: UsageQuery,
    page: UsagePage,
    dimension: str,
    kept: list[tuple[str, str]],
    filters: list[tuple[str, str]],
) -> tuple[str | None, str | None]:
    """Return the addresses of the first page and of the next one, where they are others."""
    here = [*kept, *filters, ("by", dimension)]
    following = write_cursor(str(query.skip + len(page.rows)))
    return (
        address(PATH, here) if query.skip else None,
        None if page.is_last else address(PATH, [*here, ("cursor", following)]),
    )


def _api(query: UsageQuery, span: Span, dimension: str) -> str:
    times = [(name, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
             for name, at in (("from", span.since), ("to", span.until))]  # fmt: skip
    pairs = [("group_by", dimension), ("order", "cost"), *times, *filter_pairs(query.where)]
    return address("/v1/usage", pairs)


def _said(where: Mapping[str, str | None], name: str) -> str:
    return filter_pair(name, where[name])[1] if name in where else ""
