"""Calls of programs in any language: they ask before a call, and say afterwards how it went.

Rules, bounds, prices and holds are those of the SDKs' own gate; nothing of that is here.
"""

from __future__ import annotations

from fastapi import APIRouter

from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook
from tollspan.server.authority import Authorities
from tollspan.server.gates import TenantGates
from tollspan.server.settings import ServerSettings
from tollspan.server.tally import Tally

from .authorizing import Authorizer
from .keeping import CallKeeper
from .routes import DESCRIBED, routes
from .settling import CallEnds

__all__ = ["DESCRIBED", "CallKeeper", "call_desk"]


def call_desk(
    ledger: CentralLedger,
    authorities: Authorities,
    gates: TenantGates,
    settings: ServerSettings,
    book: PriceBook,
    tally: Tally,
) -> tuple[APIRouter, CallKeeper]:
    """Return the routes, and what keeps house for them: whoever serves starts and closes it.

    Args:
        ledger: The books.
        authorities: Hold the tenants' money.
        gates: Theirs.
        settings: The server's.
        book: By which calls are bounded and priced.
        tally: Is told of their events.
    """
    store = tally.storing(ledger.events.store)
    authorizer = Authorizer(ledger, gates, hold_seconds=settings.hold_seconds, store=store)
    ends = CallEnds(ledger, authorities, gates, book, settings, store=store)
    return routes(authorizer, ends), CallKeeper(ledger, ends, gates)
