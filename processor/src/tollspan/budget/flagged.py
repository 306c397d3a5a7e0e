"""Accounts that somebody else says are used up: calls that touch one are refused beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime

import msgspec

from .idle import Touch
from .ports import Authority, Busy
from .values import Account, Balance, Hold, Leg, Refusal

AccountName = tuple[str, str, str, str]
"""A budget's id, the scope, the period and the unit of an account."""


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """How an account stands that is used up, in its unit.

    Attributes:
        limit, spent, held: As its books say, which may be of more hosts than this one.
        resets_at: When that ends by itself; None for never.
    """

    limit: int
    spent: int
    held: int
    resets_at: datetime | None = None


Flags = Mapping[AccountName, Flag]


class FlaggedAuthority:
    """An authority before which flags are looked at. Accounts that refuse nothing are let be.

    Args:
        authority: Holds the money of all other calls.
        flags: Which accounts are used up.
    """

    def __init__(self, authority: Authority, flags: Flags) -> None:
        self._authority = authority
        self._flags = flags

    def hold(self, hold: Hold) -> Refusal | None:
        """Refuse what touches a flagged account, else do as the authority does."""
        refusal = self._refusal(hold)
        return self._authority.hold(hold) if refusal is None else refusal

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Do as `hold` does, but never wait."""
        refusal = self._refusal(hold)
        return self._authority.hold_now(hold) if refusal is None else refusal

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Do as `hold` does, in another thread."""
        refusal = self._refusal(hold)
        if refusal is None:
            return self._authority.hold_soon(hold)
        future: Future[Refusal | None] = Future()
        future.set_result(refusal)
        return future

    def release_soon(self, call_id: str) -> None:
        """Give back what a call holds."""
        self._authority.release_soon(call_id)

    def touch(self, touch: Touch) -> str:
        """Name the period of an account."""
        return self._authority.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand; in one that is flagged there is no room."""
        return tuple(map(self._without_room, self._authority.balances(accounts)))

    def _refusal(self, hold: Hold) -> Refusal | None:
        flags = self._flags
        at_unix_ns = hold.started_at_unix_ns
        found: list[tuple[Balance, int]] = []
        leg: Leg
        for leg in hold.legs:
            account, asked = leg
            flag = flags.get(_name(account))
            if flag is not None and not account.is_soft and _lasts(flag, at_unix_ns):
                found.append((_standing(account, flag), asked))
        if not found:
            return None
        return Refusal(
            balances=tuple([balance for balance, _ in found]),
            asked=tuple([asked for _, asked in found]),
            source="ingest_flag",
        )

    def _without_room(self, balance: Balance) -> Balance:
        account = balance.account
        if _name(account) not in self._flags or account.is_soft:
            return balance
        least = account.limit - balance.held - balance.unresolved
        return msgspec.structs.replace(balance, posted=max(balance.posted, least))


def _standing(account: Account, flag: Flag) -> Balance:
    known = msgspec.structs.replace(account, limit=flag.limit)
    return Balance(account=known, posted=flag.spent, held=flag.held)


def _lasts(flag: Flag, at_unix_ns: int) -> bool:
    ends = flag.resets_at
    return ends is None or at_unix_ns < ends.timestamp() * 1e9


def _name(account: Account) -> AccountName:
    return account.budget_id, account.scope, account.period, account.unit
