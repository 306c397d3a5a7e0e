"""Folds accounts of closed periods: what owners have spent is added up, and their own rows go.

Nothing here asks a clock or an authority of its own: `Folder` is called by whoever keeps house.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from tollspan.usage import LedgerCorruptError

from .account_rows import key_of
from .closing_times import Closing, closing_of
from .values import Account

FOLDED: Final = '{"owners":"folded"}'
"""The scope of the rows that accounts are folded into."""
FOLD_AFTER_SECONDS: Final = 35 * 86_400
"""How long after the end of its period an account is kept at least, but of windows below a day."""
_NS: Final = 1_000_000_000
_HOUR: Final = 3_600
_DAY: Final = 86_400
_SHORT_SECONDS: Final = 2 * _HOUR
_SHORT_HOURS: Final = 3
_BLOCK_DAYS: Final = 400
_FAILED_SECONDS: Final = 10.0
_MOST_ROWS: Final = 200
_SPACING_SECONDS: Final = 0.5
_SPREAD_SECONDS: Final = 600.0
_LATE_HOURS: Final = 6
_HURRY_SECONDS: Final = 0.02
_MOST_PIECES: Final = 100
_BLOCKS: Final = "blocks"
"""The budget that the blocks of all ids are folded into, and the period."""


class FoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account in which nothing is held or unresolved.

    Attributes:
        account: The account, with limit 0.
        posted: What is posted there.
        mark: What the last run left there; 0 once anything is held or posted.
    """

    account: Account
    posted: int
    mark: int


class FoldLook(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority shows to whoever folds.

    Attributes:
        state: What the last order left; empty at first.
        now_unix_ns: The authority's time.
        rows: Accounts from where the last order's cursor leads; some, or all that are left.
        cursor: Where the ones after these begin; empty behind the last.
    """

    state: str
    now_unix_ns: int
    rows: tuple[FoldRow, ...] = ()
    cursor: str = ""


class FoldOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority is to do, whole or not at all.

    Attributes:
        was: It has this state still; else nothing is done, since somebody else was here.
        state, cursor: What to remember.
        marks: Rows that get a mark, unless something was held or posted there since.
        folds: Rows that go, and the account that gets what is posted there: None where that is
            nothing. A row stays in which something was held or posted, or is open, since. So does
            one of an idle window whose period the authority names as its owner's, or its
            allowance's; it has no mark then, whatever the order says.
    """

    was: str
    state: str
    cursor: str
    marks: tuple[tuple[FoldRow, int], ...] = ()
    folds: tuple[tuple[FoldRow, Account | None], ...] = ()


class Foldable(Protocol):
    """An authority whose accounts can be folded."""

    def look(self, most: int) -> FoldLook:
        """Show so many rows at most in which nothing is held or unresolved; with 0, none.

        Each row that is there all the time comes once or more before the cursor is empty.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def fold(self, order: FoldOrder) -> bool:
        """Do as told, in one step that is done whole or not at all; False where nothing was.

        Whatever tells of a folded account besides its sum, shares of its limit that were passed
        say, is forgotten with it.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...


class _Progress(msgspec.Struct, frozen=True):
    """How far an authority's accounts were looked through: runs are counted, not times.

    A clock that is wrong for an hour, or years off, makes no more than one run of an hour, and no
    more than one day of runs, seem to have passed.

    Attributes:
        hours: How many runs have begun, each in another hour than the one before.
        days: On how many days they have, each another than the one before.
        hour: In which hour the last one began, since the epoch.
        at_unix_ns: When its last piece was done.
        is_done: It is through.
    """

    hours: int = 0
    days: int = 0
    hour: int = -1
    at_unix_ns: int = 0
    is_done: bool = True

    def begun(self, now_unix_ns: int) -> _Progress:
        """Return this run, or the next one where it is through."""
        if not self.is_done:
            return self
        hour = now_unix_ns // _NS // _HOUR
        is_same_day = hour // 24 == self.hour // 24
        return _Progress(
            self.hours + 1, self.days + (not is_same_day), hour, now_unix_ns, is_done=False
        )


class Folder:
    """Folds an authority's accounts, a small piece each time. For one thread, not a caller's.

    Many may be at it, in many processes: pieces are half a second apart, whoever does them. A run
    that began hours ago is behind: then each of these is as many pieces as 20 milliseconds have
    room for, since accounts whose run takes longer than a day would pile up.

    Args:
        authority: Whose.
        after_seconds: How long an account is kept after its period; at least that.
        clock: Monotonic seconds.
        chance: Between 0 and 1, so that not all who may fold ask at the same time.
    """

    def __init__(
        self,
        authority: Foldable,
        *,
        after_seconds: int = FOLD_AFTER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._authority = authority
        self._after_seconds = after_seconds
        self._clock = clock
        self._chance = chance
        self._due_at = clock() + 2 * chance()

    def step(self) -> int:
        """Do the next piece if it is due, or several; return how many accounts went.

        Raises:
            LedgerError: The authority can't answer, or has a state that is none.
        """
        if self._clock() < self._due_at:
            return 0
        self._wait(_FAILED_SECONDS)  # where the authority fails, too
        look = self._authority.look(0)
        progress = _read(look.state)
        seconds = self._seconds_until_due(progress, look.now_unix_ns)
        if seconds is not None:
            self._wait(seconds)
            return 0
        gone = self._fold(_MOST_PIECES if _is_late(progress, look.now_unix_ns) else 1)
        self._wait(_SPACING_SECONDS)
        return gone

    def _fold(self, most_pieces: int) -> int:
        """Do so many pieces of a run at most, the first one whatever it takes."""
        until, gone = self._clock() + _HURRY_SECONDS, 0
        for _ in range(most_pieces):
            order = self.order(self._authority.look(_MOST_ROWS))
            if not self._authority.fold(order):
                break  # another one is at it
            gone += len(order.folds)
            if not order.cursor or self._clock() >= until:
                break
        return gone

    def order(self, look: FoldLook) -> FoldOrder:
        """Work out what is to be done with what an authority shows."""
        return _order(look, self._after_seconds)

    def _wait(self, seconds: float) -> None:
        self._due_at = self._clock() + seconds

    def _seconds_until_due(self, progress: _Progress, now_unix_ns: int) -> float | None:
        """Return how long there is nothing to do; None where there is."""
        now = now_unix_ns // _NS
        if progress.is_done:
            if now // _HOUR != progress.hour:
                return None
            return _HOUR - now % _HOUR + self._chance() * _SPREAD_SECONDS
        since = (now_unix_ns - progress.at_unix_ns) / _NS
        if 0 <= since < _SPACING_SECONDS:  # another one is at it
            return _FAILED_SECONDS * (0.5 + self._chance())
        return None


def allowed_order(order: FoldOrder, now_unix_ns: int) -> FoldOrder:
    """Work an order anew out of the rows that it names, for one that was sent by anybody.

    What it says itself may empty an account whose period runs. Of its folds, those stay that a
    folder would have made here and now; the rest get the marks that a folder would give them.

    Args:
        order: What was sent. Whether its rows are as it says, the authority sees.
        now_unix_ns: The authority's time.

    Raises:
        LedgerCorruptError: It is about a state that is none.
    """
    rows = {key_of(row.account): row for row, _ in (*order.folds, *order.marks)}
    look = FoldLook(
        state=order.was, now_unix_ns=now_unix_ns, rows=tuple(rows.values()), cursor=order.cursor
    )
    found = _order(look, FOLD_AFTER_SECONDS)
    wanted = {row for row, _ in order.folds}
    folds = tuple([one for one in found.folds if one[0] in wanted])
    return msgspec.structs.replace(found, folds=folds)


def _order(look: FoldLook, after_seconds: int) -> FoldOrder:
    now = look.now_unix_ns
    progress = _read(look.state).begun(now)
    marks: list[tuple[FoldRow, int]] = []
    folds: list[tuple[FoldRow, Account | None]] = []
    for row in look.rows:
        closing = closing_of(row.account.period)
        if not _is_closed(row, closing, now):
            continue
        count = progress.hours if _is_short(row, closing) else progress.days
        if not 0 < row.mark <= count:
            marks.append((row, count))
        elif _is_over(row, closing, count - row.mark, now, after_seconds):
            folds.append((row, _into(row, closing)))
    state = msgspec.structs.replace(progress, at_unix_ns=now, is_done=look.cursor == "")
    return FoldOrder(
        was=look.state,
        state=msgspec.json.encode(state).decode(),
        cursor=look.cursor,
        marks=tuple(marks),
        folds=tuple(folds),
    )


def _is_over(
    row: FoldRow, closing: Closing, count: int, now_unix_ns: int, after_seconds: int
) -> bool:
    """Say whether an account goes that has its mark since so many runs, or days of runs."""
    if _is_short(row, closing):
        seconds, least = _SHORT_SECONDS, _SHORT_HOURS
    elif closing.kind == "block":
        seconds, least = 0, _BLOCK_DAYS
    else:
        seconds = max(after_seconds, FOLD_AFTER_SECONDS, closing.lasts_seconds)
        least = seconds // _DAY + 2  # the first and the last may be minutes long
    closed_at = closing.at_unix_ns or 0
    return count >= least and (not row.posted or now_unix_ns >= closed_at + seconds * _NS)


def fold_target(account: Account, touched_unix_ns: int, now_unix_ns: int) -> Account | None:
    """Name the account that an account has been folded into, if it is not there any more.

    Args:
        account: It had something posted, and has nothing unresolved.
        touched_unix_ns: When its last call started.
        now_unix_ns: The time.

    Returns:
        None where it can't have been folded yet.
    """
    closing = closing_of(account.period)
    closed_at = touched_unix_ns if closing.at_unix_ns is None else closing.at_unix_ns
    is_closed = _is_closed(FoldRow(account=account, posted=1, mark=0), closing, now_unix_ns)
    if not is_closed or now_unix_ns < closed_at + _least_seconds(closing) * _NS:
        return None
    return folded_into(account, closing)


def folded_into(account: Account, closing: Closing) -> Account:
    """Name the account that another one is folded into."""
    return Account(
        budget_id=_BLOCKS if closing.kind == "block" else account.budget_id,
        scope=FOLDED,
        period=closing.sum_period,
        limit=0,
        unit=account.unit,
    )


def _least_seconds(closing: Closing) -> int:
    """Return how long an account is kept at least, whatever was asked for."""
    if closing.kind == "short":
        return _SHORT_SECONDS
    if closing.kind == "block":
        return _BLOCK_DAYS * _DAY
    return max(FOLD_AFTER_SECONDS, closing.lasts_seconds)


def _is_late(progress: _Progress, now_unix_ns: int) -> bool:
    """Say whether a run has begun so long ago that it may not end within its day."""
    return not progress.is_done and now_unix_ns // _NS // _HOUR - progress.hour >= _LATE_HOURS


def _is_short(row: FoldRow, closing: Closing) -> bool:
    """Say whether an account goes within hours: of a short window, or one that says nothing."""
    return closing.kind == "short" or not row.posted


def _is_closed(row: FoldRow, closing: Closing, now_unix_ns: int) -> bool:
    """Say whether an account may go some time: closed, and not a sum of its own already."""
    if row.account.scope == FOLDED:
        return False
    if not row.posted:
        return True
    if closing.kind == "lifetime" or (closing.at_unix_ns or 0) > now_unix_ns:
        return False
    # The account of a budget that is not divided is the sum of its period.
    return row.account.scope != "" or closing.sum_period != row.account.period


def _into(row: FoldRow, closing: Closing) -> Account | None:
    """Name the account that gets what is posted in a row; None where that is nothing."""
    return folded_into(row.account, closing) if row.posted else None


def _read(state: str) -> _Progress:
    """Read what the last order left.

    Raises:
        LedgerCorruptError: It is no state.
    """
    if not state:
        return _Progress()
    try:
        return msgspec.json.decode(state, type=_Progress)
    except msgspec.MsgspecError as error:
        raise LedgerCorruptError(f"the authority's folding is in no state: {error}") from error
