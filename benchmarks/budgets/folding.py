"""Disk, memory and speed while sessions come and go, and accounts of closed periods are folded.

`python -m benchmarks folding` writes docs/reference/speed-of-folding.md.

Days are virtual: calls start on them, and each ends with one folding of all accounts, by that day's
clock. Each place is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import gc
import resource
import sqlite3
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.budgets.figures import Spot
from benchmarks.budgets.places import (
    MEMORY,
    POSTGRES_SINGLE,
    REDIS_SINGLE,
    SQLITE,
    Place,
    opened,
)
from benchmarks.budgets.servers import Servers
from benchmarks.budgets.timing import Caller, Samples
from benchmarks.ledgers import LIMIT_NANOUSD, REQUEST
from tollspan.budget import Account, Budget, Foldable, Folder, FoldOrder, RuleSet, Window
from tollspan.pricing import PriceBook
from tollspan.usage import (
    Attribution,
    Call,
    Charge,
    Cost,
    DecisionNote,
    LedgerUnavailableError,
    Outcome,
    UsageEvent,
    new_call_id,
)

CALLS: Final = 3
"""Of each session."""
SESSIONS_A_DAY: Final = 1_000
MOMENTS: Final = (10_000, 100_000, 1_000_000)
_SHARED_MOMENTS: Final = (10_000, 50_000, 100_000)
LIVES: Final = (
    (MEMORY, False, MOMENTS),
    (MEMORY, True, MOMENTS),
    (SQLITE, True, MOMENTS),
    (REDIS_SINGLE, True, _SHARED_MOMENTS),
    (POSTGRES_SINGLE, True, _SHARED_MOMENTS),
)
"""Who holds the money, whether it is folded, and after how many sessions it is looked at."""
ROWS: Final = 200
"""How many accounts a piece of folding looks at, as `Folder` does."""
_ROOT: Final = Path(__file__).parents[2]
_FIRST_DAY: Final = 18_262  # 2020-01-01
_DAY_NS: Final = 86_400 * 10**9
_MIB: Final = 1 << 20
_ROUNDS: Final = 8
_AT_ONCE: Final = 100
_RULES: Final = RuleSet(
    budgets=(
        Budget(id="org", limit=LIMIT_NANOUSD, window=Window(every="month")),
        Budget(id="session", limit=LIMIT_NANOUSD, per=("session",), window=Window(every="day")),
    )
)


class Moment(msgspec.Struct, kw_only=True, frozen=True):
    """How a place stood when so many sessions had been there.

    Attributes:
        sessions: How many, of all days until then.
        accounts: How many accounts there were after the day's folding.
        taken_mib: What the accounts took: of memory, of the file, or at the server.
        events_mib: What the rest of the file took; None where there is none.
        resident_mib: The process's resident memory, beyond what it had before the first call.
        new, again: Match and hold of a session's first call, and of its later ones.
        empty_new, empty_again: The same, in turn with them, at a place without accounts.
        piece: What a piece of folding took, of all since the last moment; None before the first.
    """

    sessions: int
    accounts: int
    taken_mib: float
    events_mib: float | None
    resident_mib: float
    new: Spot
    again: Spot
    empty_new: Spot
    empty_again: Spot
    piece: Spot | None


class Folding(msgspec.Struct, kw_only=True, frozen=True):
    """A place through many days of sessions.

    Attributes:
        place: Who holds the money.
        is_folded: Its accounts are folded each day.
        sessions_a_day: How many new ones.
        seconds: How long all of that took.
    """

    place: str
    is_folded: bool
    sessions_a_day: int
    moments: list[Moment]
    seconds: float


class _Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What a child is to measure; sizes as in `LIVES`."""

    place: str
    is_folded: bool
    moments: tuple[int, ...]
    sessions_a_day: int = SESSIONS_A_DAY


def measure(*, is_quick: bool) -> list[Folding]:
    """Live through all of `LIVES`, one after another."""
    return [
        _in_a_child(
            _Asked(place=place, is_folded=is_folded, moments=(200, 450), sessions_a_day=10)
            if is_quick
            else _Asked(place=place, is_folded=is_folded, moments=moments)
        )
        for place, is_folded, moments in LIVES
    ]


def _in_a_child(asked: _Asked) -> Folding:
    word = msgspec.json.encode(asked).decode()
    command = [sys.executable, "-m", "benchmarks.budgets.folding", word]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Folding)


class _Life:
    """One place through its days.

    Args:
        asked: Which, and how long.
        servers: Those that it may need.
        stack: Closes it.
    """

    def __init__(self, asked: _Asked, servers: Servers, stack: ExitStack) -> None:
        self._asked = asked
        self._servers = servers
        self._book = PriceBook.load()
        self._place = stack.enter_context(opened(asked.place, servers, fold_after_seconds=None))
        self._caller = Caller(self._place, _RULES, self._book)
        self._pieces = array("q")
        self._resident = _resident()
        self._accounts = 0

    def run(self) -> Iterator[Moment]:
        """Live, and look at it now and then."""
        days = self._asked.moments[-1] // self._asked.sessions_a_day
        for day in range(days):
            self._live(day)
            if self._asked.is_folded:
                self._accounts = self._fold(day + 1)
            sessions = (day + 1) * self._asked.sessions_a_day
            if sessions in self._asked.moments:
                yield self._look(day, sessions)

    def _live(self, day: int) -> None:
        """Charge the day's sessions, each in several calls; a hundred sessions are told at once."""
        period = time.strftime("%Y-%m-%d", time.gmtime(_at(day) // 10**9))
        numbers = range(self._asked.sessions_a_day)
        accounts = [
            Account(
                budget_id="session",
                scope=f'{{"session":"{day}-{number}"}}',
                period=period,
                limit=LIMIT_NANOUSD,
            )
            for number in numbers
        ]
        for _ in range(CALLS):
            if self._place.url:
                self._place.fill(iter(accounts))
                continue
            for first in range(0, len(accounts), _AT_ONCE):
                some = accounts[first : first + _AT_ONCE]
                self._place.books.post(_event(day, some), None)

    def _fold(self, day: int) -> int:
        """Look through all accounts at the beginning of a day; return how many are left."""
        place, folder = self._place.accounts, Folder(self._place.accounts)
        seen = gone = 0
        while True:
            start = time.perf_counter_ns()
            look = msgspec.structs.replace(place.look(ROWS), now_unix_ns=_at(day))
            order = folder.order(look)
            if not _folded(place, order):
                continue
            self._pieces.append(time.perf_counter_ns() - start)
            seen += len(look.rows)
            gone += len(order.folds)
            if not order.cursor:
                return seen - gone

    def _look(self, day: int, sessions: int) -> Moment:
        accounts = self._accounts if self._asked.is_folded else sessions + day // 30 + 1
        events = _events_mib(self._place)
        taken, resident = self._taken_mib(), (_resident() - self._resident) / _MIB
        pieces, self._pieces = self._pieces, array("q")
        with opened(self._asked.place, self._servers, fold_after_seconds=None) as empty:
            others = Caller(empty, _RULES, self._book)
            each = [(caller, Samples(), Samples()) for caller in (self._caller, others)]
            for number in range(_ROUNDS):
                for caller, new, again in each:
                    _round(caller, day, f"{day}-{number}", new, again, is_counted=number > 0)
        (_, new, again), (_, empty_new, empty_again) = each
        return Moment(
            sessions=sessions,
            accounts=accounts,
            taken_mib=resident if self._place.name == MEMORY else taken,
            events_mib=events,
            resident_mib=resident,
            new=new.spot(),
            again=again.spot(),
            empty_new=empty_new.spot(),
            empty_again=empty_again.spot(),
            piece=_spot(pieces) if pieces else None,
        )

    def _taken_mib(self) -> float:
        if self._place.url:
            return self._servers.taken(self._place.url) / _MIB
        return _file_mib(self._place, "name LIKE '%accounts%'") or 0.0


def _event(day: int, accounts: Sequence[Account]) -> UsageEvent:
    (call, *_) = _calls(day, "many")
    charges = [
        Charge(budget_id=one.budget_id, scope=one.scope, period=one.period, posted=1_000)
        for one in accounts
    ]
    return UsageEvent(
        call=call,
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=None,
        cost=Cost(status="priced", amount_nanousd=1_000),
        charges=tuple(charges),
    )


def _folded(place: Foldable, order: FoldOrder) -> bool:
    """Fold; False where the file was somebody's, a checkpoint's say."""
    try:
        return place.fold(order)
    except LedgerUnavailableError:
        return False


def _spot(durations: Sequence[int]) -> Spot:
    found = Samples()
    found.add(durations)
    return found.spot()


def _round(
    caller: Caller, day: int, name: str, new: Samples, again: Samples, *, is_counted: bool
) -> None:
    """Have sessions begin that nobody has seen, and go on."""
    firsts: list[int] = []
    others: list[int] = []
    for number in range(100):
        first, *rest = [caller.step(call)[0] for call in _calls(day, f"{name}-timed-{number}")]
        firsts.append(first)
        others += rest
    if is_counted:
        new.add(firsts)
        again.add(others)


def _calls(day: int, session: str) -> Iterator[Call]:
    for _ in range(CALLS):
        yield Call(
            id=new_call_id(time.time_ns()),
            started_at_unix_ns=_at(day),
            request=REQUEST,
            attribution=Attribution(session=session),
        )


def _at(day: int) -> int:
    """Return noon of a virtual day."""
    return (_FIRST_DAY + day) * _DAY_NS + _DAY_NS // 2


def _events_mib(place: Place) -> float | None:
    return _file_mib(place, "name NOT LIKE '%accounts%'")


def _file_mib(place: Place, which: str) -> float | None:
    """Return what some tables and indexes of the file take; None where accounts are elsewhere."""
    if place.file is None or place.url:
        return None
    with sqlite3.connect(place.file, timeout=10) as connection:
        asked = f"SELECT name FROM sqlite_master WHERE rootpage > 0 AND {which}"
        one = "SELECT pgsize FROM dbstat WHERE aggregate = 1 AND name = ?"
        names = connection.execute(asked).fetchall()
        sizes: list[int] = [connection.execute(one, name).fetchone()[0] for name in names]
    return sum(sizes) / _MIB


def _resident() -> int:
    """Return the process's resident bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Measure what the argument asks for, and print JSON."""
    asked = msgspec.json.decode(sys.argv[1], type=_Asked)
    started = time.monotonic()
    with ExitStack() as stack:
        moments = list(_Life(asked, Servers(stack), stack).run())
    found = Folding(
        place=asked.place,
        is_folded=asked.is_folded,
        sessions_a_day=asked.sessions_a_day,
        moments=moments,
        seconds=time.monotonic() - started,
    )
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
