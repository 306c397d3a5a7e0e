"""What an authority shows to a server: its accounts, a page at a time, and whose money it holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from .leases import SharedAuthority
from .values import Balance


class AccountPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some accounts of an authority.

    Attributes:
        balances: How they stand; their accounts have limit 0, since an authority knows none.
        cursor: Where the ones after these begin; empty behind the last.
    """

    balances: tuple[Balance, ...]
    cursor: str = ""


class ListingAuthority(SharedAuthority, Protocol):
    """A shared authority that can show its accounts."""

    def lasting(self, life_seconds: float) -> ListingAuthority:
        """Return the same authority, for leases that live so long."""
        ...

    def known_leases(self, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of these leases it granted, open or over: who has them settles here.

        They are known for as long as settled calls are.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show about so many accounts, in an order of its own.

        Each account that is there all the time comes once, of a Redis once or more, before the
        cursor is empty.

        Args:
            cursor: Of the page before; empty for the first.
            most: How many, 1 or more.

        Raises:
            ValueError: The cursor is none of this authority's.
            LedgerError: The authority can't answer.
        """
        ...


def read_number(cursor: str) -> int:
    """Read a cursor that is a number; 0 for an empty one.

    Raises:
        ValueError: It is none.
    """
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 20):
        raise ValueError("expected the cursor of a page of accounts")
    return int(cursor)
