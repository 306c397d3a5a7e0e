"""Reports of what was used: `/v1/usage` and `/v1/focus`."""

from __future__ import annotations

from fastapi import APIRouter

from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook

from .focus import focus_routes
from .usage import UsageParameters, usage_routes

__all__ = ["UsageParameters", "focus_routes", "routes", "usage_routes"]


def routes(ledger: CentralLedger, book: PriceBook | None = None) -> APIRouter:
    """Return all routes of reports.

    Args:
        ledger: Of whose events they are.
        book: The prices by which costs are taken apart; None for those that ship with tollspan.
    """
    router = APIRouter()
    router.include_router(usage_routes(ledger))
    router.include_router(focus_routes(ledger, book or PriceBook.load()))
    return router
