"""What a shared authority knows: accounts, leases and what they hold, calls that were settled."""

from __future__ import annotations

import json
from decimal import Decimal
from heapq import nsmallest
from itertools import islice

import msgspec

from .account_rows import Key, Row, account_of, key_of
from .folding import FoldLook, FoldOrder
from .folding_memory import FoldMemory
from .idle import IDLE_ROWS_AT_ONCE, IdleRows, Touch
from .leases import Want
from .listing import AccountPage
from .values import Account, Balance


class LeasePart:
    """What a lease has in one account.

    Attributes:
        number: As in `Want.part`.
        amount: What it holds, of parts with older numbers too.
        granted, returned: All that this part ever got, and gave back.
        is_given_up: The holder has no use for it any more; events are still to come.
    """

    __slots__ = ("amount", "granted", "is_given_up", "number", "returned")

    def __init__(self, number: int) -> None:
        self.amount = 0
        self.begin(number)

    def begin(self, number: int) -> None:
        """Begin anew under a newer number; what is left is of messages that got lost."""
        self.number = number
        self.granted = self.returned = 0
        self.is_given_up = False


class Holding:
    """What is known of a lease.

    Attributes:
        expires_at, ended_at: By the authority's clock, Unix nanoseconds; None while it is open.
        grants: How often it was granted something.
        given_up: The highest number of its parts that were given up.
        is_written_off: The horizon is over: what its parts hold is posted.
        parts: Account by account.
    """

    __slots__ = ("ended_at", "expires_at", "given_up", "grants", "is_written_off", "parts")

    def __init__(self) -> None:
        self.expires_at = 0
        self.ended_at: int | None = None
        self.grants = self.given_up = 0
        self.is_written_off = False
        self.parts: dict[Key, LeasePart] = {}


class State:
    """All that a shared authority knows.

    Attributes:
        epoch, last_epoch: That in which it grants, if any; the highest that was ever seen.
        rows: Accounts.
        open, ended: Leases by name; renewed, or ended, the longest ago first.
        settled: Calls, and when they were settled, Unix nanoseconds; oldest first.
        told: Which account was said to have passed which shares.
        idle: The periods of idle windows.
        folding: How far accounts were looked through.
    """

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.last_epoch = ""
        self.rows: dict[Key, Row] = {}
        self.open: dict[str, Holding] = {}
        self.ended: dict[str, Holding] = {}
        self.settled: dict[str, int] = {}
        self.told: dict[Key, set[Decimal]] = {}
        self.idle = IdleRows()
        self.folding = FoldMemory(self.rows, self.idle)

    def row(self, key: Key) -> Row:
        """Find an account's sums, or make them, to change them."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row()
        row.mark = 0
        return row

    def balance(self, account: Account) -> Balance:
        """Return how an account stands."""
        row = self.rows.get(key_of(account)) or Row()
        return Balance(account=account, posted=row.posted, held=row.held, unresolved=row.unresolved)

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show so many accounts at most, in the order of their names."""
        after = _read_name(cursor) if cursor else ("", "", "", "")
        found = nsmallest(most, [key for key in self.rows if key > after])
        return AccountPage(
            balances=tuple([self.balance(account_of(key)) for key in found]),
            cursor=json.dumps(found[-1]) if len(found) == most else "",
        )

    # -- leases --

    def lease(self, lease_id: str) -> Holding | None:
        """Find a lease, open or ended."""
        return self.open.get(lease_id) or self.ended.get(lease_id)

    def renew(self, lease_id: str, has: Holding) -> None:
        """Keep a lease as open, behind all others."""
        self.open.pop(lease_id, None)
        self.open[lease_id] = has

    def end(self, lease_id: str, has: Holding) -> None:
        """Keep an open lease as ended."""
        del self.open[lease_id]
        self.ended[lease_id] = has

    def forget(self, lease_id: str) -> None:
        """Forget an ended lease."""
        del self.ended[lease_id]

    def opened(self) -> list[tuple[str, Holding]]:
        """Return all open leases."""
        return list(self.open.items())

    def over(self, now_unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return those whose life is over, of so many that were renewed the longest ago."""
        first = islice(self.open.items(), most)
        return [(name, has) for name, has in first if now_unix_ns >= has.expires_at]

    def ended_before(self, unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return those that ended until then, of so many that ended the longest ago."""
        first = islice(self.ended.items(), most)
        return [(name, has) for name, has in first if (has.ended_at or 0) <= unix_ns]

    def left(self, since_unix_ns: int) -> list[tuple[str, Holding]]:
        """Return leases that ended since then, and were not written off."""
        return [
            (name, has)
            for name, has in self.ended.items()
            if not has.is_written_off and (has.ended_at or 0) >= since_unix_ns
        ]

    # -- calls --

    def note_settled(self, call_id: str, now_unix_ns: int) -> bool:
        """Note that a call is settled; False where it was before."""
        if call_id in self.settled:
            return False
        self.settled[call_id] = now_unix_ns
        return True

    def forget_settled(self, before_unix_ns: int, most: int) -> None:
        """Forget calls that were settled before then, of so many that were the longest ago."""
        for call_id, at in list(islice(self.settled.items(), most)):
            if at < before_unix_ns:
                del self.settled[call_id]

    # -- the rest --

    def is_first(self, key: Key, share: Decimal) -> bool:
        """Note that an account was told to have passed a share; False where that was before."""
        told = self.told.setdefault(key, set())
        is_first = share not in told
        told.add(share)
        return is_first

    def look(self, most: int, now_unix_ns: int) -> FoldLook:
        """Show accounts to whoever folds them."""
        return self.folding.look(most, now_unix_ns)

    def touch(self, touch: Touch, now_unix_ns: int) -> str:
        """Note that the owner of an account is active, and name the period."""
        return self.idle.touch(touch, now_unix_ns, self._is_held)

    def fold(self, order: FoldOrder, now_unix_ns: int) -> bool:
        """Fold accounts; what was told of them is forgotten, and who is silent for long."""
        self.idle.forget(now_unix_ns, self._is_held, most=IDLE_ROWS_AT_ONCE)
        gone = self.folding.fold(order)
        for key in gone or ():
            self.told.pop(key, None)
        return gone is not None

    def _is_held(self, account: Account) -> bool:
        row = self.rows.get(key_of(account))
        return row is not None and row.held > 0


def _read_name(cursor: str) -> Key:
    """Read the name of an account.

    Raises:
        ValueError: It is none.
    """
    try:
        name: Key = msgspec.json.decode(cursor, type=Key)
    except (msgspec.DecodeError, UnicodeError):
        raise ValueError("expected the cursor of a page of accounts") from None
    return name


class Asked:
    """A want as it stands: what an answer that got lost has granted of it already counts."""

    __slots__ = ("balance", "fits", "is_told_again", "need", "want")

    def __init__(self, want: Want, balance: Balance, has: Holding) -> None:
        part = has.parts.get(key_of(want.account))
        granted = part.granted if part is not None and part.number == want.part else 0
        surplus = granted - want.known
        self.want = want
        self.balance = balance
        self.need = max(0, want.need - surplus)
        self.is_told_again = surplus > 0 and self.need == 0
        self.fits = want.account.limit > 0 if self.is_told_again else balance.fits(self.need)
