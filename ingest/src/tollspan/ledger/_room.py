"""Keeps the ledger's file within its size: events are folded into totals, the sent ones first.

Every sum is kept, and until its dedupe window ends every id, so that an event that comes once more
changes nothing. A step is one statement: whoever is killed at it has done all of it, or nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tollspan.usage import (
    Event,
    LedgerUnavailableError,
    TotalKey,
    UsageEvent,
    decode_event,
    key_of,
    may_fold,
    number_of_total,
    total_of,
)

from ._files import is_busy
from ._owner import alone
from ._rescue import NO_EVENT
from ._session import Session
from ._totals import row_of

MOST_BYTES: Final = 1 << 30
"""The default of `Room.most_bytes`."""
KEEP_SENT_SECONDS: Final = 35 * 86_400
"""How long an event is kept by itself that was sent to the server."""
DEDUPE_SECONDS: Final = 35 * 86_400
"""How long the id of a folded event is known: a server takes no older ones either."""
NEVER_FOLDED: Final = 1_000
"""So many events stay as they are at the end of the queue, for people, or at its head: they may be
on their way."""
FOLDED_UNSENT: Final = "folded"
"""How the sighting is called of events that were folded before they were sent."""
_ROWS: Final = 200
_TICK_SECONDS: Final = 0.05
_AGE_EVERY_SECONDS: Final = 60.0
_NS: Final = 1_000_000_000
_logger = logging.getLogger("tollspan.ledger")

_FOLD = (
    "UPDATE event_folds SET orders = ?1 WHERE json_array_length(?1, '$.rows') ="
    " (SELECT count(*) FROM json_each(?1, '$.rows') AS told JOIN events"
    " ON seq = json_extract(told.value, '$[0]') AND events.id = json_extract(told.value, '$[1]'))"
)
_SELECT = (
    # The newest row never goes: no event may ever get a number that one had which was sent.
    "SELECT seq, kind, data FROM events WHERE seq > ? AND seq <= ? AND kind <> 'adjustment'"
    " AND seq < (SELECT max(seq) FROM events)"
    " ORDER BY seq LIMIT ?"
)
_FORGET = (
    "DELETE FROM folded_ids WHERE id IN"
    " (SELECT id FROM folded_ids WHERE until_unix_ns < ? LIMIT 10000)"
)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How much a ledger may keep.

    Attributes:
        most_bytes: The greatest size of its file.
        destination: The server to which events are sent; None where they stay.
        authority: The name of the shared authority with which events are settled; None without.
    """

    most_bytes: int = MOST_BYTES
    destination: str | None = None
    authority: str | None = None


class _Level(msgspec.Struct, frozen=True):
    """One way to make room: which events are folded, into totals of how long."""

    is_sent: bool
    seconds: int


_LEVELS: Final = (
    _Level(is_sent=True, seconds=3_600),
    _Level(is_sent=True, seconds=86_400),
    _Level(is_sent=False, seconds=60),
    _Level(is_sent=False, seconds=3_600),
    _Level(is_sent=False, seconds=86_400),
)


class _Row(msgspec.Struct, frozen=True):
    seq: int
    kind: str
    event: Event


class RoomKeeper:
    """Makes room in a ledger, a little at a time, in one process of the host.

    Args:
        home: The ledger's folder.
        clock: Unix nanoseconds.
    """

    def __init__(self, home: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._home = home
        self._room = Room()
        self._clock = clock
        self._level = 0
        self._cursor = self._floor = 0
        self._aged_at = -_AGE_EVERY_SECONDS
        self._rests_until = 0.0
        self._is_used_up = False

    def asker(self, owner: Callable[[], str]) -> Callable[[], str]:
        """Return what names who holds: the owner, or what refuses, where there is no room left."""
        return self._refuse if self._is_used_up else owner

    def _refuse(self) -> str:
        raise LedgerUnavailableError(
            f"the ledger in {self._home} has more in it than TOLLSPAN_LEDGER_SIZE,"
            f" {self._room.most_bytes >> 20} MiB, and nothing is left to fold: make that larger, or"
            " see why events are not sent"
        )

    def tick(self, session: Session, room: Room) -> None:
        """Make some room if that is due, and nobody else has the file this instant.

        Raises:
            sqlite3.Error, OSError: The file, or its folder, can't be written.
        """
        self._room = room
        try:
            self._tick(session)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise

    def _tick(self, session: Session) -> None:
        now = time.monotonic()
        is_aged = now - self._aged_at >= _AGE_EVERY_SECONDS
        is_full = self.is_full(session)
        self._is_used_up &= is_full
        is_full &= now >= self._rests_until
        if not is_aged and not is_full:
            return
        with alone(self._home, "making-room") as is_alone:
            if not is_alone:
                return
            if is_full:
                self._make_room(session, now + _TICK_SECONDS)
            elif self._fold_old(session, now + _TICK_SECONDS):
                self._aged_at = now
                session.connection.execute(_FORGET, (self._clock(),))

    def is_full(self, session: Session) -> bool:
        """Say whether the file has more in it than it may."""
        return used_bytes(session.connection) > self._room.most_bytes

    def _make_room(self, session: Session, ends_at: float) -> None:
        """Fold what is the least loss, until there is room or the time is over."""
        while time.monotonic() < ends_at and self.is_full(session):
            level = _LEVELS[self._level]
            if level.is_sent:
                is_over = self._step(session, level, self._sent(session))
            else:
                is_over = self._fold_unsent(session, level)
            if is_over:
                self._level, self._cursor = self._level + 1, 0
            if self._level == len(_LEVELS):
                self._level = 0
                self._rests_until = time.monotonic() + _AGE_EVERY_SECONDS
                self._is_used_up = True
                _logger.error(
                    "tollspan's ledger in %s is larger than TOLLSPAN_LEDGER_SIZE, and nothing is"
                    " left in it to fold: budgets that refuse calls refuse them now",
                    self._home,
                )
                return

    def _fold_unsent(self, session: Session, level: _Level) -> bool:
        """Fold events that no server has; what may be on its way there stays as it is."""
        with alone(self._home, "shipping") as is_alone:
            if not is_alone:
                return False
            sent = self._sent(session)
            (newest,) = session.connection.execute("SELECT max(seq) FROM events").fetchone()
            first, last = 0, (newest or 0) - NEVER_FOLDED
            if self._room.destination is not None:
                row = session.connection.execute(
                    "SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?",
                    (sent, NEVER_FOLDED),
                ).fetchone()
                first, last = (last, last) if row is None else (row[0], newest)
            self._floor = first
            self._cursor = max(self._cursor, first)
            return self._step(session, level, self._settled(session, last))

    def _fold_old(self, session: Session, ends_at: float) -> bool:
        """Fold what was sent and is old; say whether that is done."""
        self._level = self._cursor = 0
        last = self._sent(session)
        oldest = self._clock() - KEEP_SENT_SECONDS * _NS
        while last and time.monotonic() < ends_at:
            if self._step(session, _LEVELS[0], last, before_unix_ns=oldest):
                return True
        return not last

    def _sent(self, session: Session) -> int:
        """Return up to which number events were sent, and settled."""
        if self._room.destination is None:
            return 0
        return self._settled(session, _noted(session, f"shipped:{self._room.destination}"))

    def _settled(self, session: Session, number: int) -> int:
        if self._room.authority is None:
            return number
        return min(number, _noted(session, f"settled:{self._room.authority}"))

    def _step(
        self, session: Session, level: _Level, last: int, *, before_unix_ns: int | None = None
    ) -> bool:
        """Fold some events up to a number; say whether there are none left."""
        found = session.connection.execute(_SELECT, (self._cursor, last, _ROWS)).fetchall()
        wanted = [row for row in _rows(found) if _is_foldable(row, level)]
        if before_unix_ns is not None:
            young = [one for one in wanted if one.event.call.started_at_unix_ns >= before_unix_ns]
            if young:
                wanted = [one for one in wanted if one.seq < young[0].seq]
                found = []  # what comes after is no older
        if wanted and not self._fold(session, level, wanted):
            return False  # somebody else changed it: look again
        if found:
            self._cursor = found[-1][0]
        return len(found) < _ROWS

    def _fold(self, session: Session, level: _Level, rows: Sequence[_Row]) -> bool:
        """Put totals in the place of events; False when these are not there any more."""
        groups: dict[TotalKey, list[_Row]] = {}
        for row in rows:
            key = key_of(row.event, seconds=level.seconds, is_sent=level.is_sent)
            groups.setdefault(key, []).append(row)
        gone: list[tuple[int, str, int | None]] = []
        totals: list[tuple[object, ...]] = []
        for key, group in groups.items():
            known, number = self._known(session, key)
            parts = [*known, *group]
            total = total_of(key, [one.event for one in parts], number)
            gone += [self._gone(one) for one in parts]
            *values, data = row_of(total)
            totals.append((min(one.seq for one in parts), *values, data.decode()))
        orders = json.dumps({"rows": gone, "totals": totals})
        done = session.connection.execute(_FOLD, (orders,)).rowcount == 1
        if done and not level.is_sent:
            calls = len(rows)
            session.sight(FOLDED_UNSENT, "events that no server has", calls, self._clock())
        return done

    def _known(self, session: Session, key: TotalKey) -> tuple[list[_Row], int]:
        """Return the totals of a key that are there, and the number of the next one."""
        found = session.connection.execute(
            "SELECT seq, kind, data FROM events WHERE id BETWEEN ? AND ?",
            (key.id(0), key.id((1 << 32) - 1)),
        ).fetchall()
        rows = list(_rows(found))
        number = max((number_of_total(one.event.call.id) for one in rows), default=-1) + 1
        # What comes before may be on its way.
        return [one for one in rows if key.is_sent or one.seq > self._floor], number

    def _gone(self, row: _Row) -> tuple[int, str, int | None]:
        """Return a row's number and id, and until when that is known; None for no longer."""
        event = row.event
        name = event.call.id if isinstance(event, UsageEvent) else event.id
        until = event.call.started_at_unix_ns + DEDUPE_SECONDS * _NS
        is_known = row.kind in ("usage", "decision") and until > self._clock()
        return row.seq, name, until if is_known else None


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of a ledger's file has something in it."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return (int(pages) - int(free)) * int(size)


def _rows(found: Sequence[tuple[int, str, bytes]]) -> Iterator[_Row]:
    """Read events, but for damaged ones: a rebuild is for these."""
    for seq, kind, data in found:
        with contextlib.suppress(*NO_EVENT):
            yield _Row(seq, kind, decode_event(data))


def _noted(session: Session, name: str) -> int:
    row = session.connection.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])


def _is_foldable(row: _Row, level: _Level) -> bool:
    event = row.event
    if not may_fold(event):
        return False
    folded = event.folded if isinstance(event, UsageEvent) else None
    return folded is None or folded.seconds < level.seconds or folded.is_sent < level.is_sent
