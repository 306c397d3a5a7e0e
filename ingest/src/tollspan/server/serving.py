"""Runs the server: opens the books, listens, and ends in order."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from tollspan.budget import LeaseSettings
from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import EVERY_TENANT, PRICES_CHANGED, CentralLedger
from tollspan.pricing import PriceBook

from .app import create_app
from .housekeeping import Housekeeper
from .pressure import allow_files, limited_protocol
from .settings import ServerSettings

_GRACE_SECONDS: Final = 10
_KEEP_ALIVE_SECONDS: Final = 30
_FIRST_KEY: Final = "tollspan keys create --scopes ingest,read,admin"
_SQLITE: Final = "sqlite:"
_BESIDE: Final = ".authority.db"
_WAIT_SECONDS: Final = 1.0
"""How long a question may wait for a database that holds the money."""


def serve(
    settings: ServerSettings,
    *,
    book: PriceBook | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    Args:
        settings: Where, and what is taken.
        book: By which calls are priced; None for the prices that ship with tollspan.
        announce: Told in a sentence where it listens, once it does.

    Raises:
        ConfigError: The settings name no database, or no authority.
        LedgerError: The database can't be opened.
    """
    allow_files(settings.most_connections)
    authorities = authorities_of(settings)
    ledger = CentralLedger(settings.database)
    prices = book or PriceBook.load()
    housekeeper = Housekeeper(ledger, settings, book=prices)
    try:
        ledger.audit.note_change(EVERY_TENANT, "server", PRICES_CHANGED, prices.book_id)
        config = configured(ledger, settings, authorities, housekeeper, prices)
        server = _Announcing(config, ledger, announce)
        housekeeper.start()
        gc.collect()
        gc.freeze()  # to look for garbage in the program itself took a fifth of the time
        server.run()
    finally:
        housekeeper.stop()
        authorities.close()
        ledger.close()


class _Announcing(uvicorn.Server):
    """A server that says where it listens: its port may be any that was free."""

    def __init__(
        self, config: uvicorn.Config, ledger: CentralLedger, announce: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._is_new = not ledger.tenants.keys()
        self._books = ledger.name
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        scheme = "https" if self.config.is_ssl else "http"
        for server in self.servers if self.started else ():
            host, port = server.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"tollspan serves {self._books} at {scheme}://{shown}:{port}")
        if self._is_new and self.started:
            self._announce(f"nobody has a key yet: `{_FIRST_KEY}` makes one")


def authorities_of(settings: ServerSettings) -> TenantAuthorities:
    """Return who holds the tenants' money; nothing is opened yet.

    Raises:
        ConfigError: It is no authority, or its driver is missing.
    """
    address = settings.authority
    if address is None:
        address = settings.database
        if address.startswith(_SQLITE):
            address = os.path.splitext(address)[0] + _BESIDE
    lease = LeaseSettings(
        life_seconds=settings.lease_life_seconds,
        horizon_seconds=settings.lease_horizon_seconds,
        wait_seconds=_WAIT_SECONDS,
        drift_seconds=min(1.0, settings.lease_life_seconds / 4),
    )
    return TenantAuthorities(address, lease)


def configured(
    ledger: CentralLedger,
    settings: ServerSettings,
    authorities: TenantAuthorities,
    housekeeper: Housekeeper | None = None,
    book: PriceBook | None = None,
) -> uvicorn.Config:
    """Return how uvicorn serves these books."""
    return uvicorn.Config(
        create_app(ledger, settings, authorities, housekeeper, book),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        lifespan="on",
        access_log=False,
        server_header=False,
        log_level="warning",
        http=limited_protocol(settings),
        ws="none",
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
