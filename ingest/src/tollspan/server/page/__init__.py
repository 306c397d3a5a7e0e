"""The page for people at `/`: made on the server, as HTML that works without a script.

Everything of it is in this package: templates, one style sheet, one small script. Nothing is
loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter

from tollspan.ledger.central import CentralLedger

from .assets import ASSETS
from .overview import overview_routes
from .refusals import refusal_routes
from .signing import signing_routes
from .spending import spending_routes
from .visiting import Visits

__all__ = ["routes"]


def _now() -> datetime:
    return datetime.now(UTC)


def routes(ledger: CentralLedger, *, now: Callable[[], datetime] = _now) -> APIRouter:
    """Return all routes of the page.

    Args:
        ledger: The books that are shown, which know who is signed in too.
        now: Tells the time, in UTC.
    """
    visits = Visits(ledger)
    router = APIRouter()
    router.include_router(ASSETS.routes())
    router.include_router(signing_routes(ledger))
    router.include_router(overview_routes(ledger, visits, now))
    router.include_router(spending_routes(ledger, visits, now))
    router.include_router(refusal_routes(ledger, visits, now))
    return router
