"""`tollspan serve`: an ingest server in this process, until it is told to end."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec

from tollspan.launch import load_prices, read_home, read_settings
from tollspan.pricing import PriceBook
from tollspan.usage import ConfigError

from ._bounds import bounds
from ._central import not_installed
from ._terminal import print_line

_DATABASE_FILE = "server.db"


def serve(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    if (parsed.certificate is None) != (parsed.private_key is None):
        raise ConfigError("TLS needs both: --certificate and --private-key")
    try:
        from tollspan.server import DEFAULT_HOST, DEFAULT_PORT, ServerSettings  # noqa: PLC0415
        from tollspan.server import serve as run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    settings = ServerSettings(
        database=database(parsed),
        authority=parsed.authority,
        host=parsed.host or DEFAULT_HOST,
        port=DEFAULT_PORT if parsed.port is None else parsed.port,
        keep_months=parsed.keep,
        keep_audit_months=parsed.keep_audit,
        certificate=parsed.certificate,
        private_key=parsed.private_key,
        private_webhooks=parsed.private_webhooks,
        **bounds(parsed),
    )
    run(settings, book=_book(parsed.prices), announce=print_line)
    return 0


def _book(prices: Path | None) -> PriceBook:
    """Return the prices of this server: its own file, over the book in force here."""
    settings = read_settings()
    own = settings.prices if prices is None else prices
    return load_prices(msgspec.structs.replace(settings, prices=own))


def database(parsed: argparse.Namespace) -> str:
    """Return where the central books are: as said, else a file in the home."""
    said: str | None = parsed.db
    return said or f"sqlite:{os.fspath(read_home() / _DATABASE_FILE)}"
