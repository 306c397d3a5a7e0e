"""`/`: what goes out now, this month, and where it leads; `/tenants`: whose books to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tollspan.ledger.central import CentralLedger, UsageQuery, UsageSums

from .charts import share
from .links import address, filter_pair
from .pace import pace_of
from .presenting import AwayError, PageRoute, show
from .ranged import PlaceParameters, hidden_pairs, total_of, unix_ns
from .ranges import named_span
from .spending import PATH, Row, picture
from .visiting import Place, Visits

_PANELS: Final = ("customer", "model", "feature", "agent")
_DEAREST: Final = 5
_MOST_TENANTS: Final = 200


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """The dearest values of a dimension, and where to see all of them."""

    dimension: str
    rows: tuple[Row, ...]
    link: str


class TenantLine(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, what it spent this month, and where to look."""

    name: str
    sums: UsageSums
    link: str


def overview_routes(
    ledger: CentralLedger, visits: Visits, now: Callable[[], datetime]
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    def overview(request: Request, _: Annotated[PlaceParameters, Query()]) -> Response:
        """Show a tenant's money at one glance."""
        return _overview(ledger, visits.place(request), request, now())

    @router.get("/tenants")
    def tenants(request: Request, _: Annotated[PlaceParameters, Query()]) -> Response:
        """Let somebody who looks after all choose whose things to see."""
        visitor = visits.visitor(request)
        if not visitor.is_for_all:
            raise AwayError("/")
        since = unix_ns(named_span("month", now()).since)
        query = UsageQuery(since_unix_ns=since)
        lines = [
            TenantLine(
                name=name,
                sums=total_of(ledger, name, query),
                link=address("/", [("tenant", name)]),
            )
            for name in visitor.tenants[:_MOST_TENANTS]
        ]
        left = len(visitor.tenants) - len(lines)
        return show(
            "tenants", visitor=visitor, tenant=None, here="tenants", lines=lines, hidden=[],
            left=left,
        )  # fmt: skip

    return router


def _overview(ledger: CentralLedger, place: Place, request: Request, now: datetime) -> Response:
    month = named_span("month", now)
    since = unix_ns(month.since)
    total = total_of(ledger, place.tenant, UsageQuery(since_unix_ns=since))
    is_empty = total == UsageSums() and total_of(ledger, place.tenant, UsageQuery()) == UsageSums()
    hidden = hidden_pairs(place)
    panels = [] if is_empty else [
        _panel(ledger, place.tenant, name, total, since, hidden) for name in _PANELS
    ]  # fmt: skip
    recent = named_span("30d", now)
    return show(
        "overview", visitor=place.visitor, tenant=place.tenant, here="overview", hidden=hidden,
        is_empty=is_empty, endpoint=str(request.base_url).rstrip("/"),
        pace=pace_of(ledger, place.tenant, now), total=total, panels=panels,
        chart=picture(ledger, place.tenant, recent, {}), span=recent,
        month=f"{now:%B %Y}",
    )  # fmt: skip


def _panel(
    ledger: CentralLedger,
    tenant: str,
    dimension: str,
    total: UsageSums,
    since: int,
    hidden: list[tuple[str, str]],
) -> Panel:
    query = UsageQuery(since_unix_ns=since, group_by=(dimension,), order="cost", most=_DEAREST)
    kept = [*hidden, ("range", "month")]
    rows = tuple(
        Row(
            value=row.values[0],
            link=address(PATH, [*kept, filter_pair(dimension, row.values[0])]),
            sums=row.sums,
            share=share(row.sums.cost_nanousd, total.cost_nanousd),
        )
        for row in ledger.usage.usage(tenant, query).rows
    )
    return Panel(dimension=dimension, rows=rows, link=address(PATH, [*kept, ("by", dimension)]))
