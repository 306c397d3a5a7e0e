"""The ledger as an outbox: what was sent to a server, what waits, what that would not take.

Events are the ledger's own. Kept beside them are, for each server, up to which one all were sent,
and those that it refused. After a rebuild both are gone: everything is sent again, and a server
counts what it has already once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from tollspan.usage import Fact

from ._session import Session
from .reading import LedgerReader

SHIPPED: Final = "shipped:"
"""How the names of `meta` begin that keep up to where events were sent to a server."""
_KEEP = (
    "INSERT INTO dead_letters (destination, event_id, reason, message, at_unix_ns)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (destination, event_id) DO UPDATE SET"
    " reason = excluded.reason, message = excluded.message, at_unix_ns = excluded.at_unix_ns,"
    " is_wanted = 0"
)
_NOT_YET: Final = "in_the_future"
"""Why an event is refused that begins later than a server's clock says: that passes."""
_SOONEST = (
    "id IN (SELECT event_id FROM dead_letters JOIN events ON events.id = event_id"
    " WHERE destination = ? AND reason = ? ORDER BY time_unix_ns LIMIT ?)"
)
_DEAD = "SELECT destination, event_id, reason, message, at_unix_ns, is_wanted FROM dead_letters"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a server would not take.

    Attributes:
        destination: The server's address.
        event_id: The event, which the ledger has.
        reason: Why, in a word for machines.
        message: Why, for people.
        at_unix_ns: When it was refused last.
        is_wanted: It is to be sent again.
    """

    destination: str
    event_id: str
    reason: str
    message: str
    at_unix_ns: int
    is_wanted: bool = False

    @property
    def is_not_yet(self) -> bool:
        """Whether the server may take it later, as only its time has not come there."""
        return self.reason == _NOT_YET


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch.

    Attributes:
        destination: The server's address.
        number: Up to which number all events are taken or kept as dead letters; None to leave that.
        inode: Of the file that has these numbers.
        taken: Ids of dead letters that were taken after all.
        dead: What was refused.
    """

    destination: str
    number: int | None
    inode: int
    taken: tuple[str, ...] = ()
    dead: tuple[DeadLetter, ...] = ()


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """What an outbox has left to send.

    Attributes:
        count: How many events.
        oldest_unix_ns: When the first of them began; None when there is none.
        dead: How many were refused.
    """

    count: int
    oldest_unix_ns: int | None
    dead: int


class _Run(Protocol):
    def __call__(self, step: Callable[[Session, Any], Any], argument: Any, /) -> Any: ...


class Outbox:
    """Reads and notes what is sent. Safe for threads and processes.

    Args:
        reader: Reads the ledger.
        run: Does a step on the ledger's file, waiting for other processes.
        inode: Says which file there is now.

    Raises:
        LedgerError: From any method, when the ledger can't be used.
    """

    def __init__(self, reader: LedgerReader, run: _Run, inode: Callable[[], int]) -> None:
        self._reader = reader
        self._run = run
        self.inode = inode

    def shipped(self, destination: str) -> int:
        """Return up to which number events were sent there."""
        for (number,) in self._reader.rows(
            "SELECT value FROM meta WHERE key = ?", (f"{SHIPPED}{destination}",)
        ):
            return int(number)
        return 0

    def next_facts(self, destination: str, most: int) -> list[tuple[int, Fact]]:
        """Return what is to be sent there next, in the order in which it was stored."""
        after = self.shipped(destination)
        return list(islice(self._reader.numbered_facts(after=after, since_unix_ns=0), most))

    def wanted(self, destination: str, most: int) -> list[Fact]:
        """Return dead letters that are to be sent again."""
        condition = "id IN (SELECT event_id FROM dead_letters WHERE destination = ? AND is_wanted)"
        return [fact for _, fact in islice(self._reader.facts(condition, (destination,)), most)]

    def not_yet(self, destination: str, most: int) -> list[Fact]:
        """Return dead letters whose time had not come there, of those that begin soonest."""
        return [fact for _, fact in self._reader.facts(_SOONEST, (destination, _NOT_YET, most))]

    def dead_letters(self, destination: str) -> Iterator[DeadLetter]:
        """Yield what was refused there, oldest first."""
        query = f"{_DEAD} WHERE destination = ? ORDER BY at_unix_ns, event_id"
        for row in self._reader.rows(query, (destination,)):
            yield DeadLetter(
                destination=row[0],
                event_id=row[1],
                reason=row[2],
                message=row[3],
                at_unix_ns=row[4],
                is_wanted=bool(row[5]),
            )

    def waits(self, destination: str) -> Waits:
        """Return what is left to send there."""
        after = self.shipped(destination)
        for count, oldest, dead in self._reader.rows(
            "SELECT count(*),"
            " (SELECT time_unix_ns FROM events WHERE seq > ?1 AND kind <> 'sent'"
            "  ORDER BY seq LIMIT 1),"
            " (SELECT count(*) FROM dead_letters WHERE destination = ?2)"
            " FROM events WHERE seq > ?1 AND kind <> 'sent'",
            (after, destination),
        ):
            return Waits(count=count, oldest_unix_ns=oldest, dead=dead)
        raise AssertionError("a sum has a row")

    def note(self, shipment: Shipment) -> None:
        """Note what became of a batch; done twice, or half, it can be done again."""
        if self.inode() == shipment.inode:  # else the numbers are another file's
            self._run(_note, shipment)

    def replay(self, destination: str, event_ids: Sequence[str] | None) -> int:
        """Have dead letters sent again: these, or all; return how many."""
        done: int = self._run(_replay, (destination, event_ids))
        return done


def _note(session: Session, shipment: Shipment) -> None:
    """Note what was refused first, and last that it need not be sent any more."""
    for one in shipment.dead:
        values = (one.destination, one.event_id, one.reason, one.message, one.at_unix_ns)
        session.connection.execute(_KEEP, values)
    for event_id in shipment.taken:
        session.connection.execute(
            "DELETE FROM dead_letters WHERE destination = ? AND event_id = ?",
            (shipment.destination, event_id),
        )
    if shipment.number is not None:
        session.keep((f"{SHIPPED}{shipment.destination}", str(shipment.number)))


def _replay(session: Session, wanted: tuple[str, Sequence[str] | None]) -> int:
    destination, event_ids = wanted
    query = "UPDATE dead_letters SET is_wanted = 1 WHERE destination = ?"
    if event_ids is None:
        return session.connection.execute(query, (destination,)).rowcount
    return sum(
        session.connection.execute(f"{query} AND event_id = ?", (destination, one)).rowcount
        for one in event_ids
    )
