"""Which prices a process runs with: a price book, and the operator's own prices over it."""

from __future__ import annotations

import os
from pathlib import Path

from tollspan.pricing import NO_OVERRIDES, PriceBook, newer_book, read_overrides

from ._settings import Settings

# What `tollspan prices update` writes into TOLLSPAN_HOME. A pinned book is used however old it is.
UPDATED_BOOK = "prices.json"
PINNED_BOOK = "prices.pinned.json"


def load_prices(settings: Settings) -> PriceBook:
    """Read the price book that is in force, and the operator's own prices.

    Raises:
        PriceBookError: The book can't be read or was altered.
        ConfigError: The operator's prices can't be read, or something in them is wrong.
    """
    own = NO_OVERRIDES if settings.prices is None else read_overrides(settings.prices)
    return PriceBook.load(book_in_force(settings), own)


def book_in_force(settings: Settings) -> Path | None:
    """Return the price book's file; None for the one that ships with tollspan.

    That is the one of the setting, else a pinned one, else the newer of the updated one and ours.

    Raises:
        PriceBookError: The updated book says no date.
    """
    if settings.price_book is not None:
        return settings.price_book
    pinned = settings.home / PINNED_BOOK
    if os.path.isfile(pinned):  # it never raises, whatever the home is
        return pinned
    updated = settings.home / UPDATED_BOOK
    return newer_book(updated) if os.path.isfile(updated) else None
