"""Idle windows: a period lasts until its owner has been silent for a time, a session's say.

The authority says which period it is: holders tell it that an owner is active, and it answers. A
holder tells that no more often than it must, so that a period ends between the idle time and a
tenth more after the owner's last activity: later than said, never earlier.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from .values import Account

IDLE_SLACK: Final = 10
"""A period lasts this part of the idle time longer: what holders need not have told yet."""
IDLE_MEMORY_SECONDS: Final = 86_400
"""So long after a period's end it is known which one it was."""
IDLE_ROWS_AT_ONCE: Final = 200
"""Of so many owners it is looked at once whether they are silent for long, by whoever folds."""
_NS: Final = 1_000_000_000
_KEY: Final = re.compile(r"idle:([1-9][0-9]{0,9})s/([0-9]{16})?")
_MOST_LOOKED_AT: Final = 4
Place = tuple[str, str]
"""A budget's id and whose part of it: what has one period at a time."""


class IdlePeriod(NamedTuple):
    """A period's key, read back.

    Attributes:
        idle_seconds: The idle time by which it began.
        began_at_us: When it began, microseconds since the epoch; by the clock of who began it, so
            it tells periods apart, and sorts them.
    """

    idle_seconds: int
    began_at_us: int


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """A holder's word that the owner of an account is active.

    Attributes:
        account: The account, in the period by which the holder goes: the one that it was told last,
            else the one that it would begin.
        idle_seconds: The idle time that the rules say now.
        ago_ns: How long ago the owner was active last, nanoseconds; 0 for now.
        is_known: The holder was told of that period by the authority, less than the idle time ago
            by a clock that nobody sets: so it has not ended, whatever the authority's clock says.
        is_look: Only say which period it is; note nothing, and begin none. That is answered by an
            authority too that is not open.
    """

    account: Account
    idle_seconds: int
    ago_ns: int = 0
    is_known: bool = False
    is_look: bool = False


def idle_key(idle_seconds: int, began_at_us: int) -> str:
    """Name a period, `idle:1800s/1795874400000000` say."""
    return f"idle:{idle_seconds}s/{began_at_us:016d}"


def unnamed_key(idle_seconds: int) -> str:
    """Stand for a period of which only the authority knows which one it is, until it was asked."""
    return f"idle:{idle_seconds}s/"


@lru_cache(maxsize=10_000)
def read_idle(key: str) -> IdlePeriod | None:
    """Read a period's key back; None for the key of anything else, and for what is unnamed."""
    match = _KEY.fullmatch(key)
    return IdlePeriod(int(match[1]), int(match[2])) if match is not None and match[2] else None


@lru_cache(maxsize=1_000)
def read_unnamed(key: str) -> int | None:
    """Return the idle time in seconds of an unnamed period; None for the key of anything else."""
    match = _KEY.fullmatch(key)
    return int(match[1]) if match is not None and not match[2] else None


def lasts_ns(idle_seconds: int) -> int:
    """Return how long a period lasts after its owner was last said to be active, nanoseconds."""
    return idle_seconds * _NS + idle_seconds * _NS // IDLE_SLACK


def place_of(account: Account) -> Place:
    """Return what has one period at a time."""
    return account.budget_id, account.scope


class _Row(msgspec.Struct):
    """The period of one owner: its account, and until when it lasts, Unix nanoseconds."""

    account: Account
    ends_at_unix_ns: int


class IdleRows:
    """Which period each owner is in: what authorities in memory keep. Not safe for threads.

    Other authorities do the same in their own words. It forgets owners that are silent for long, a
    few at a time, but none in whose account something is held: that period lasts.
    """

    def __init__(self) -> None:
        self._rows: OrderedDict[Place, _Row] = OrderedDict()

    def __len__(self) -> int:
        """Return how many owners are known."""
        return len(self._rows)

    def names(self, budget_id: str, scope: str, key: str) -> bool:
        """Say whether an owner is in that period, as far as is known: it may have ended since."""
        row = self._rows.get((budget_id, scope))
        return row is not None and row.account.period == key

    def touch(self, touch: Touch, now_unix_ns: int, is_held: Callable[[Account], bool]) -> str:
        """Note that an owner is active, and name the period.

        The same while it lasts, while something is held in it, and where the holder knows that it
        lasts; else a new one begins, which sorts behind. The clock may go back: then it ends later.

        Args:
            touch: What a holder says.
            now_unix_ns: The authority's time.
            is_held: Says whether something is held in an account.
        """
        row = self._rows.get(place_of(touch.account))
        if row is None:
            key = touch.account.period
        else:
            lasts = now_unix_ns < row.ends_at_unix_ns or is_held(row.account)
            key = current_key(touch, row.account.period, lasts=lasts)
        if not touch.is_look:
            self._note(touch, key, now_unix_ns)
            self.forget(now_unix_ns, is_held, most=_MOST_LOOKED_AT)
        return key

    def forget(self, now_unix_ns: int, is_held: Callable[[Account], bool], *, most: int) -> None:
        """Look at so many owners, all in their turn, and forget those that are silent for long."""
        for _ in range(min(most, len(self._rows))):
            place, row = self._rows.popitem(last=False)
            is_over = now_unix_ns >= row.ends_at_unix_ns + IDLE_MEMORY_SECONDS * _NS
            if not is_over or is_held(row.account):
                self._rows[place] = row

    def _note(self, touch: Touch, key: str, now_unix_ns: int) -> None:
        latest = now_unix_ns + lasts_ns(touch.idle_seconds)
        ends_at_unix_ns = latest - touch.ago_ns
        place = place_of(touch.account)
        row = self._rows.get(place)
        if row is not None:  # another holder may have said more; or the clock has gone back since
            ends_at_unix_ns = max(ends_at_unix_ns, min(row.ends_at_unix_ns, latest))
        account = msgspec.structs.replace(touch.account, period=key)
        self._rows[place] = _Row(account, ends_at_unix_ns)


def current_key(touch: Touch, key: str, *, lasts: bool) -> str:
    """Name the period that an owner is in.

    Args:
        touch: What a holder says.
        key: The period that is known here.
        lasts: Whether it lasts, as far as is known here.
    """
    said = touch.account.period
    if touch.is_known:  # where the holder's is the later one, this is an older state
        return max(key, said, key=_order)
    return key if lasts else _later(said, key)


def _later(said: str, than: str) -> str:
    """Return the key of a period that begins after another: as said, if that sorts behind."""
    period = read_idle(said)
    least = _order(than) + 1
    if period is None or period.began_at_us >= least:
        return said
    return idle_key(period.idle_seconds, least)


def _order(key: str) -> int:
    period = read_idle(key)
    return -1 if period is None else period.began_at_us
