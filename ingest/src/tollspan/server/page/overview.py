"""`/`: what goes out now, this month, and where it leads; `/tenants`: whose books to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tollspan.ledger.central import CentralLedger, TooMuchError, UsageQuery, UsageSums
from tollspan.pricing import PriceBook
from tollspan.server.authority import BudgetRow

from .budgets import PATH as BUDGETS_PATH
from .budgets import BudgetBooks, Budgets
from .caching import PATH as CACHING_PATH
from .caching import Caching, caching_of
from .charts import share
from .health import PATH as HEALTH_PATH
from .health import SenderLine, sender_line
from .links import address, filter_pair
from .pace import pace_of
from .presenting import AwayError, PageRoute, show
from .ranged import PlaceParameters, hidden_pairs, total_of, unix_ns
from .ranges import Span, named_span
from .refusals import PATH as REFUSALS_PATH
from .spending import PATH, Row, picture
from .trust import PATH as TRUST_PATH
from .trust import Trust, trust_of
from .visiting import Place, Visits

_PANELS: Final = ("customer", "model", "feature", "agent")
_DEAREST: Final = 5
_NEAREST: Final = 4
_MOST_BUDGETS: Final = 500
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


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What else there is to know of a month, and where to look closer.

    Attributes:
        caching: What caching did; None where too much would have to be read for that.
        trust: How much of the month's figures is certain.
        sender: Who sent last; None for nobody.
        is_behind: Calls wait at some sender.
        links: By view, its address.
    """

    caching: Caching | None
    trust: Trust
    sender: SenderLine | None
    is_behind: bool
    links: dict[str, str]


def overview_routes(
    ledger: CentralLedger,
    visits: Visits,
    now: Callable[[], datetime],
    budgets: BudgetBooks,
    book: PriceBook,
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    def overview(request: Request, _: Annotated[PlaceParameters, Query()]) -> Response:
        """Show a tenant's money at one glance."""
        return _overview(ledger, visits.place(request), request, now(), budgets, book)

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


def _overview(
    ledger: CentralLedger,
    place: Place,
    request: Request,
    now: datetime,
    budgets: BudgetBooks,
    book: PriceBook,
) -> Response:
    month = named_span("month", now)
    since = unix_ns(month.since)
    total = total_of(ledger, place.tenant, UsageQuery(since_unix_ns=since))
    is_empty = total == UsageSums() and total_of(ledger, place.tenant, UsageQuery()) == UsageSums()
    hidden = hidden_pairs(place)
    panels = [] if is_empty else [
        _panel(ledger, place.tenant, name, total, since, hidden) for name in _PANELS
    ]  # fmt: skip
    recent = named_span("30d", now)
    found = budgets.of(place.tenant, now, hidden, most=_MOST_BUDGETS)
    return show(
        "overview", visitor=place.visitor, tenant=place.tenant, here="overview", hidden=hidden,
        is_empty=is_empty, endpoint=str(request.base_url).rstrip("/"),
        pace=pace_of(ledger, place.tenant, now), total=total, panels=panels,
        chart=picture(ledger, place.tenant, recent, {}), span=recent,
        month=f"{now:%B %Y}",
        before_nanousd=_a_month_before(ledger, place.tenant, now),
        budgets=found, nearest=found.lines[:_NEAREST],
        budgets_link=address(BUDGETS_PATH, hidden), plan=plan_of(found, f"{now:%Y-%m}"),
        glance=None if is_empty else _glance(ledger, place.tenant, total, month, now, hidden, book),
    )  # fmt: skip


def _a_month_before(ledger: CentralLedger, tenant: str, now: datetime) -> int:
    """Return what had been spent at this point of the month before, by whole hours."""
    last = named_span("last-month", now)
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    until = min(last.since + (hour - last.until), last.until)
    query = UsageQuery(since_unix_ns=unix_ns(last.since), until_unix_ns=unix_ns(until))
    return total_of(ledger, tenant, query).cost_nanousd


def plan_of(budgets: Budgets, month: str) -> BudgetRow | None:
    """Return the budget that a forecast of a month is compared with: the least that counts all."""
    rows = [
        one.row
        for one in budgets.lines
        if one.day_nanousd is not None and not one.row.scope and one.row.period == month
        and one.row.limit is not None
    ]  # fmt: skip
    return min(rows, key=_limit, default=None)


def _limit(row: BudgetRow) -> int:
    return row.limit or 0


def _glance(
    ledger: CentralLedger,
    tenant: str,
    total: UsageSums,
    month: Span,
    now: datetime,
    hidden: list[tuple[str, str]],
    book: PriceBook,
) -> Glance:
    try:
        caching = caching_of(ledger, tenant, month, book)
    except TooMuchError:
        caching = None
    senders = [sender_line(one, now) for one in reversed(ledger.receipts.senders(tenant))]
    kept = [*hidden, ("range", "month")]
    return Glance(
        caching=caching, trust=trust_of(total), sender=next(iter(senders), None),
        is_behind=any(one.state == "behind" for one in senders),
        links={
            "refusals": address(REFUSALS_PATH, kept), "caching": address(CACHING_PATH, kept),
            "trust": address(TRUST_PATH, kept), "health": address(HEALTH_PATH, hidden),
        },
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
