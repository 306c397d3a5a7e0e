"""Sets up what sends events to the ingest API."""

from __future__ import annotations

from tollspan.exporter import Shipper
from tollspan.ledger import SQLiteLedger

from ._settings import Settings


def shipper_of(settings: Settings, ledger: SQLiteLedger) -> Shipper | None:
    """Return what sends the ledger's events; None where they stay."""
    if settings.endpoint is None or settings.api_key is None:
        return None
    return Shipper(ledger, settings.endpoint, settings.api_key)
