"""Sets up what sends events to the ingest API, and what is made of its answers."""

from __future__ import annotations

from tollspan.exporter import Heeder, Shipper, shown
from tollspan.ledger import Room, SQLiteLedger

from ._rules import fetcher_of
from ._settings import Settings


def shipper_of(settings: Settings, ledger: SQLiteLedger) -> Shipper | None:
    """Return what sends the ledger's events; None where they stay."""
    endpoint = settings.endpoint
    if endpoint is None or settings.api_key is None:
        return None
    heeder = Heeder(
        ledger.home,
        shown(endpoint.rstrip("/")),
        fetcher=fetcher_of(settings) if _serves_rules(settings, endpoint) else None,
        document=settings.document,
    )
    return Shipper(ledger, endpoint, settings.api_key, heeder=heeder)


def room_of(settings: Settings) -> Room:
    """Return how much the ledger may keep."""
    endpoint = settings.endpoint
    is_sent = endpoint is not None and settings.api_key is not None
    return Room(
        most_bytes=settings.ledger_bytes,
        destination=shown(endpoint.rstrip("/")) if endpoint and is_sent else None,
    )


def _serves_rules(settings: Settings, endpoint: str) -> bool:
    """Say whether the rules come from the server to which events are sent."""
    url = settings.rules_url
    return url is not None and url.startswith(f"{endpoint.rstrip('/')}/")
