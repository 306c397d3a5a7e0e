"""Follows a ledger as events come in, through its making, moving and rebuilding."""

from __future__ import annotations

from tollspan.usage import Event, LedgerUnavailableError, UsageEvent

from . import _files
from .reading import NO_FILTER, LedgerReader, Where

_REMEMBERED = 10_000


class EventTail:
    """Gives each event once, after it was stored. Not safe for threads.

    Args:
        reader: Of the ledger, which may not be there yet.
        where: As in `LedgerReader.events`.
        since_unix_ns: Leave out what started before this.
    """

    def __init__(
        self, reader: LedgerReader, *, where: Where = NO_FILTER, since_unix_ns: int = 0
    ) -> None:
        self._reader = reader
        self._where = where
        self._since_unix_ns = since_unix_ns
        self._inode = 0
        self._number = 0
        self._given: dict[str, None] = {}  # ids in order; a rebuilt file may bring them again
        self._newest_unix_ns = 0

    def start(self, *, newest: int) -> tuple[Event, ...]:
        """Give the `newest` events that are there; the others count as given."""
        inode = _files.inode(self._reader.path)
        if not inode:
            return ()
        try:
            self._newest_unix_ns = self._reader.newest_unix_ns() or 0
            self._number = self._reader.highest_number()
            found = tuple(
                self._reader.numbered_events(
                    newest=max(newest, 1), where=self._where, since_unix_ns=self._since_unix_ns
                )
            )
        except LedgerUnavailableError:
            self._number = 0
            return ()
        self._inode = inode
        given = tuple(pair for pair in found if pair[0] <= self._number)
        return self._take(given[-newest:] if newest else ())

    def new(self) -> tuple[Event, ...]:
        """Give the events that were stored since; none while the ledger is away or locked.

        Raises:
            LedgerError: The ledger is damaged.
        """
        path = self._reader.path
        inode = _files.inode(path)
        if not inode:
            return ()
        try:
            after = self._number if inode == self._inode else self._number_in_new_file()
            highest = self._reader.highest_number()
            found = tuple(
                self._reader.numbered_events(
                    after=after, where=self._where, since_unix_ns=self._since_unix_ns
                )
            )
        except LedgerUnavailableError:  # made or moved this instant: the next look finds it
            return ()
        if _files.inode(path) != inode:
            return ()
        self._inode = inode
        self._number = max(highest, found[-1][0] if found else after)
        return self._take(found)

    def _number_in_new_file(self) -> int:
        last = next(reversed(self._given), "")
        return self._reader.number_of(last, self._newest_unix_ns)

    def _take(self, found: tuple[tuple[int, Event], ...]) -> tuple[Event, ...]:
        fresh: list[Event] = []
        for _, event in found:
            event_id = event.call.id if isinstance(event, UsageEvent) else event.id
            if event_id not in self._given:
                self._given[event_id] = None
                self._newest_unix_ns = max(self._newest_unix_ns, event.call.started_at_unix_ns)
                fresh.append(event)
        while len(self._given) > _REMEMBERED:
            del self._given[next(iter(self._given))]
        return tuple(fresh)
