"""The page for people at `/`: made on the server, as HTML that works without a script.

Everything of it is in this package: templates, one style sheet, one small script. Nothing is
loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter

from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook
from tollspan.server.authority import Authorities
from tollspan.server.rules import RulesInForce

from .assets import ASSETS
from .budgets import BudgetBooks, budget_routes
from .caching import caching_routes
from .health import health_routes
from .overview import overview_routes
from .refusals import refusal_routes
from .signing import signing_routes
from .spending import spending_routes
from .trust import trust_routes
from .visiting import Visits

__all__ = ["routes"]


def _now() -> datetime:
    return datetime.now(UTC)


def routes(
    ledger: CentralLedger,
    note_down: Callable[[], None],
    authorities: Authorities,
    rules: RulesInForce,
    *,
    book: PriceBook | None = None,
    now: Callable[[], datetime] = _now,
) -> APIRouter:
    """Return all routes of the page.

    Args:
        ledger: The books that are shown, which know who is signed in too.
        note_down: Writes down what this server has counted of what came.
        authorities: Who hold the tenants' money.
        rules: What budgets there are.
        book: The prices by which savings are worked out; None for those that ship with tollspan.
        now: Tells the time, in UTC.
    """
    visits = Visits(ledger)
    prices = book or PriceBook.load()
    budgets = BudgetBooks(ledger, authorities, rules)
    router = APIRouter()
    router.include_router(ASSETS.routes())
    router.include_router(signing_routes(ledger))
    router.include_router(overview_routes(ledger, visits, now, budgets, prices))
    router.include_router(spending_routes(ledger, visits, now))
    router.include_router(refusal_routes(ledger, visits, now))
    router.include_router(budget_routes(visits, now, budgets))
    router.include_router(caching_routes(ledger, visits, now, prices))
    router.include_router(trust_routes(ledger, visits, now, note_down))
    router.include_router(health_routes(ledger, visits, now, note_down))
    return router
