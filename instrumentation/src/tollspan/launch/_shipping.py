"""Sets up what sends events to the ingest API, and what is made of its answers."""

from __future__ import annotations

from tollspan.exporter import Heeder, Shipper, destination_of
from tollspan.ledger import Room, SQLiteLedger

from ._rules import fetcher_of
from ._settings import Settings


def shipper_of(settings: Settings, ledger: SQLiteLedger) -> Shipper | None:
    """Return what sends the ledger's events; None where they stay."""
    endpoint, key, destination = settings.endpoint, settings.api_key, _destination(settings)
    if endpoint is None or key is None or destination is None:
        return None
    heeder = Heeder(
        ledger.home,
        destination,
        fetcher=fetcher_of(settings) if _serves_rules(settings, endpoint) else None,
        document=settings.document,
    )
    return Shipper(ledger, endpoint, key, heeder=heeder)


def room_of(settings: Settings) -> Room:
    """Return how much the ledger may keep."""
    return Room(most_bytes=settings.ledger_bytes, destination=_destination(settings))


def _destination(settings: Settings) -> str | None:
    """Name the server to which events are sent, as the ledger notes it; None where they stay."""
    if settings.endpoint is None or settings.api_key is None:
        return None
    return destination_of(settings.endpoint)


def _serves_rules(settings: Settings, endpoint: str) -> bool:
    """Say whether the rules come from the server to which events are sent."""
    url = settings.rules_url
    return url is not None and url.startswith(f"{endpoint.rstrip('/')}/")
