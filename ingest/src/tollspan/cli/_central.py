"""Opens the books of an ingest server for a command: they need an extra."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING

from tollspan.usage import ConfigError

if TYPE_CHECKING:
    from tollspan.ledger.central import CentralLedger


@contextlib.contextmanager
def open_central(where: str) -> Generator[CentralLedger]:
    """Open books for a while.

    Raises:
        ConfigError: The server's libraries are missing, or it names no database.
        LedgerError: They can't be opened.
    """
    try:
        from tollspan.ledger.central import CentralLedger  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    ledger = CentralLedger(where)
    try:
        yield ledger
    finally:
        ledger.close()


def not_installed(error: ModuleNotFoundError) -> ConfigError:
    """Return what is said where the server's libraries are missing."""
    return ConfigError(f"{error.name} is missing: pip install 'tollspan[server]'")
