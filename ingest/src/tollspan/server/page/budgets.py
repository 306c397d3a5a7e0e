"""`/budgets`: how budgets stand, the nearest to their limits first, and how long they will last.

It only shows: what changes a budget is its tenant's rules. It looks by what `/v1/budgets` looks by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tollspan.budget import Budget, LimitsInForce, plain_period, read_rolling
from tollspan.ledger.central import GROUPED, CentralLedger, UsageQuery
from tollspan.server.authority import Authorities, BudgetQuestion, BudgetRow, look_at_budgets
from tollspan.server.rules import RulesInForce
from tollspan.usage import ConfigError, LedgerError

from . import views
from .bars import Bar, bar_of
from .links import address, filter_pairs
from .pace import Pace, pace_of
from .presenting import PageRoute, show
from .ranged import PlaceParameters, hidden_pairs, unix_ns
from .spending import PATH as SPEND_PATH
from .visiting import Place, Visits

PATH: Final = "/budgets"
MOST_LOOKED_AT: Final = 2_000
"""Budgets, and owners' parts of them, that are put in order; there may be more."""
_AT_ONCE: Final = 500
_LISTED: Final = 50
_MOST_VALUES: Final = 10_000
_LOOKED_BACK: Final = timedelta(days=7)
_NS: Final = 10**9
State = Literal["used up", "runs out", "lasts", "within limit", "no limit"]
"""Nothing is left; at this pace it is used up before it begins anew; it is not; nobody knows the
pace; no rule in force limits it."""
_log = logging.getLogger(__name__)


class BudgetsParameters(PlaceParameters):
    """What the address of the view says."""

    budget: str = Field("", max_length=256)
    page: int = Field(1, ge=1, le=MOST_LOOKED_AT)


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, or an owner's part of one, as it is shown.

    Attributes:
        row: How it stands.
        bar: A picture of that.
        state: In a word.
        resets: In how long it begins anew; None where no clock says so.
        day_nanousd: What a day costs of it; None where nobody knows.
        lasts: How long what is left lasts at this pace; None where that is for ever, or unknown.
        spend: Where to see what it was spent on; None where that can't be asked for.
        own: Where to see this budget alone.
    """

    row: BudgetRow
    bar: Bar
    state: State
    resets: str | None
    day_nanousd: int | None
    lasts: str | None
    spend: str | None
    own: str


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of a tenant, those nearest to their limits first.

    Attributes:
        lines: All that were looked at.
        is_whole: There are no others.
        trouble: Why they can't be shown; empty where they can.
    """

    lines: tuple[BudgetLine, ...] = ()
    is_whole: bool = True
    trouble: str = ""


class BudgetBooks:
    """Knows how the budgets of tenants stand, and how fast they are used.

    Args:
        ledger: Says how fast money goes.
        authorities: Say how budgets stand.
        rules: Say what they are.
    """

    def __init__(
        self, ledger: CentralLedger, authorities: Authorities, rules: RulesInForce
    ) -> None:
        self._ledger = ledger
        self._authorities = authorities
        self._rules = rules

    def of(
        self,
        tenant: str,
        now: datetime,
        hidden: list[tuple[str, str]],
        *,
        budget: str = "",
        most: int = MOST_LOOKED_AT,
    ) -> Budgets:
        """Return a tenant's budgets; what keeps them from being looked at is told, not raised."""
        try:
            rules = self._rules.of(tenant).rules
            rows, is_whole = self._rows(tenant, budget, most)
        except (ConfigError, LedgerError) as error:
            _log.warning("budgets can't be looked at: %s", error)
            return Budgets(trouble="Who holds the budgets does not answer now.")
        burns = _Burns(self._ledger, tenant, now, LimitsInForce(rules).budgets)
        rows.sort(key=_nearness)
        lines = tuple(_line(row, burns, unix_ns(now), hidden) for row in rows)
        return Budgets(lines=lines, is_whole=is_whole)

    def _rows(self, tenant: str, budget: str, most: int) -> tuple[list[BudgetRow], bool]:
        authority, rules = self._authorities.of(tenant), self._rules.of(tenant).rules
        found: list[BudgetRow] = []
        cursor = ""
        while len(found) < most:
            asked = BudgetQuestion(
                budget_id=budget or None, cursor=cursor, most=min(_AT_ONCE, most - len(found))
            )
            page = look_at_budgets(authority, rules, asked)
            found += page.rows
            cursor = page.cursor
            if not cursor:
                return found, True
        return found, False


def budget_routes(visits: Visits, now: Callable[[], datetime], books: BudgetBooks) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def budgets(request: Request, asked: Annotated[BudgetsParameters, Query()]) -> Response:
        """Show how budgets stand."""
        return _shown(visits.place(request), asked, now(), books)

    return router


def _shown(place: Place, asked: BudgetsParameters, now: datetime, books: BudgetBooks) -> Response:
    hidden = hidden_pairs(place)
    found = books.of(place.tenant, now, hidden, budget=asked.budget)
    first = (asked.page - 1) * _LISTED
    kept = [*hidden, ("budget", asked.budget)]
    later = address(PATH, [*kept, ("page", str(asked.page + 1))])
    return show(
        "budgets", visitor=place.visitor, tenant=place.tenant, here="budgets", hidden=hidden,
        found=found, lines=found.lines[first : first + _LISTED], most=MOST_LOOKED_AT,
        used_up=_count(found.lines, "used up"), runs_out=_count(found.lines, "runs out"),
        held=any(one.row.held for one in found.lines),
        unresolved=any(one.row.unresolved for one in found.lines),
        chips=[("budget", asked.budget, address(PATH, hidden))] if asked.budget else [],
        start=address(PATH, kept) if asked.page > 1 else None,
        later=later if len(found.lines) > first + _LISTED else None,
    )  # fmt: skip


def _count(lines: Iterable[BudgetLine], state: State) -> int:
    return sum(one.state == state for one in lines)


def _nearness(row: BudgetRow) -> tuple[bool, float, str, str]:
    """Return by what budgets stand in order: those without a limit last."""
    share = row.share
    return share is None, -(share or 0.0), row.budget_id, str(row.scope)


def _line(
    row: BudgetRow, burns: _Burns, now_unix_ns: int, hidden: list[tuple[str, str]]
) -> BudgetLine:
    left = None if row.ends_at_unix_ns is None else max(0, row.ends_at_unix_ns - now_unix_ns) // _NS
    pace = burns.of(row)
    lasts = None if pace is None or row.remaining is None else pace.seconds_for(row.remaining)
    is_known = set(row.scope) <= set(GROUPED)
    spend = [*hidden, ("range", "month"), *filter_pairs(row.scope)]
    return BudgetLine(
        row=row,
        bar=bar_of(row.limit, row.posted, row.held, row.unresolved),
        state=_state(row, left, lasts, is_paced=pace is not None),
        resets=None if left is None else views.span(left),
        day_nanousd=None if pace is None else pace.day_nanousd or 0,
        lasts=None if lasts is None else views.span(lasts),
        spend=address(SPEND_PATH, spend) if is_known and pace is not None else None,
        own=address(PATH, [*hidden, ("budget", row.budget_id)]),
    )


def _state(
    row: BudgetRow, resets_seconds: int | None, lasts_seconds: int | None, *, is_paced: bool
) -> State:
    if row.remaining is None:
        return "no limit"
    if row.remaining <= 0:
        return "used up"
    if lasts_seconds is None:
        return "lasts" if is_paced and resets_seconds is not None else "within limit"
    if resets_seconds is not None and lasts_seconds >= resets_seconds:
        return "lasts"
    return "runs out"


class _Burns:
    """How fast budgets are used, where the sums of calls can tell.

    They can of those that count all money of their owners, in periods that do not roll.
    """

    def __init__(
        self, ledger: CentralLedger, tenant: str, now: datetime, budgets: dict[str, Budget]
    ) -> None:
        self._ledger = ledger
        self._tenant = tenant
        self._now = now
        self._budgets = budgets
        self._pace: Pace | None = None
        self._found: dict[tuple[str, ...], dict[tuple[str | None, ...], int]] = {}

    def of(self, row: BudgetRow) -> Pace | None:
        """Return the pace of a budget; None where the sums can't tell."""
        budget = self._budgets.get(row.budget_id)
        names = tuple(sorted(row.scope))
        is_told = budget is not None and not budget.where and set(names) <= set(GROUPED)
        is_rolling = read_rolling(plain_period(row.period)) is not None
        if row.unit != "usd" or row.is_allowance or is_rolling or not is_told:
            return None
        if self._pace is None:
            self._pace = pace_of(self._ledger, self._tenant, self._now)
        if not names:
            return self._pace
        values = tuple(row.scope[name] for name in names)
        spent = self._by(names).get(values, 0)
        return msgspec.structs.replace(self._pace, recent_nanousd=spent)

    def _by(self, names: tuple[str, ...]) -> dict[tuple[str | None, ...], int]:
        """Return what was spent lately by the values of dimensions: one question for all owners."""
        found = self._found.get(names)
        if found is None:
            since = self._now.replace(minute=0, second=0, microsecond=0) - _LOOKED_BACK
            if len(names) > 1:  # of several dimensions there are sums of whole days
                since = since.replace(hour=0)
            query = UsageQuery(
                since_unix_ns=unix_ns(since), group_by=names, order="cost", most=_MOST_VALUES
            )
            rows = self._ledger.usage.usage(self._tenant, query).rows
            found = self._found[names] = {row.values: row.sums.cost_nanousd for row in rows}
        return found
