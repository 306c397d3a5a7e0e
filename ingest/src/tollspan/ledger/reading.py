"""Reads a ledger for people: budgets, events, sums. Opens the file read-only."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tollspan.budget import Account, Balance, DeferredHold, Touch
from tollspan.usage import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    TAG_PREFIX,
    Adjustment,
    Charge,
    Event,
    Fact,
    LedgerCorruptError,
    LedgerError,
    decode_event,
    decode_fact,
    is_tag,
)

from ._idle import LOOK, look_for, period_of
from ._jobs import decode_deferred
from ._rescue import NO_EVENT
from ._session import ledger_error

_IS_DENIED = "kind = 'decision' AND json_extract(d, '$.decision.action') = 'deny'"
DIMENSIONS = {
    "model": "coalesce(json_extract(d, '$.cost.matched_key'),"
    " json_extract(d, '$.call.request.model'))",
    "provider": "json_extract(d, '$.call.request.provider')",
    "operation": "json_extract(d, '$.call.request.operation')",
    "customer": "json_extract(d, '$.call.attribution.customer')",
    "session": "json_extract(d, '$.call.attribution.session')",
    "user": "json_extract(d, '$.call.attribution.user')",
    "agent": "json_extract(d, '$.call.attribution.agent')",
    "feature": "json_extract(d, '$.call.attribution.feature')",
    "step": "json_extract(d, '$.call.attribution.step')",
    "team": "json_extract(d, '$.call.attribution.team')",
    "project": "json_extract(d, '$.call.attribution.project')",
    "service": "json_extract(d, '$.call.attribution.service')",
    "environment": "json_extract(d, '$.call.attribution.environment')",
    "outcome": "coalesce(json_extract(d, '$.outcome.status'),"
    f" CASE WHEN {_IS_DENIED} THEN 'denied' END)",
    "day": "strftime('%Y-%m-%d', time_unix_ns / 1000000000, 'unixepoch')",
    "hour": "strftime('%Y-%m-%dT%H', time_unix_ns / 1000000000, 'unixepoch')",
}
_CALLS = "coalesce(json_extract(d, '$.folded.calls'), kind = 'usage')"
_DENIED = f"coalesce(json_extract(d, '$.folded.denied'), {_IS_DENIED})"
_FOLDED = (
    "coalesce(json_extract(d, '$.folded.calls'), 0)"
    " + coalesce(json_extract(d, '$.folded.denied'), 0)"
)
_TAG = (
    "(SELECT json_extract(value, '$[1]') FROM json_each(d, '$.call.attribution.tags')"
    " WHERE json_extract(value, '$[0]') = ?)"
)


def is_dimension(name: str) -> bool:
    """Say whether events can be summed by it: one of `DIMENSIONS`, or a tag (`tag.tier`)."""
    return name in DIMENSIONS or is_tag(name)


_EVENTS = (
    "SELECT seq, kind, time_unix_ns, cost_nanousd, data, CAST(data AS TEXT) AS d FROM events"
    " WHERE kind <> 'adjustment'"
)
_WAIT_SECONDS = 5.0
_SIZES = ("page_count", "freelist_count", "page_size")
Where = Mapping[str, str | None]
"""Dimension → the value that an event must have; None: none at all."""
NO_FILTER: Where = {}


_ACCOUNTS = "SELECT budget_id, scope, period, unit, most, posted, held, unresolved FROM accounts"


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of the events that share one value of each dimension asked for.

    Attributes:
        values: The values, in the order of the dimensions; None where nobody said one.
        calls, denied: Usage events and refusals.
        estimated, unknown, unpriced: Of the calls, how many have such a usage or cost.
        input_tokens, output_tokens: Inclusive sums.
        cost_nanousd: Sum of the known costs.
        folded: Of the calls and refusals, how many are only in totals any more.
    """

    values: tuple[str | None, ...]
    calls: int
    denied: int
    estimated: int
    unknown: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int
    folded: int = 0


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Something counted that should not happen."""

    kind: str
    name: str
    count: int
    last_unix_ns: int


POSTING_REFUSED = "posting_refused"
"""The sighting of an operator's postings that a shared authority does not take of this host."""
POSTINGS_TOLD = "postings_told"
"""The sighting of all having been told again since, with nothing refused."""
SETTLED = "settled:"
"""How the names of `meta` begin that keep up to where events were settled with an authority."""


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that holds money: in flight, or unresolved since its process died.

    The hold of a lease, for all calls that its process decides from it, has the lease's id. What
    the account's limit is, a hold does not say: 0.
    """

    call_id: str
    account: Account
    amount: int
    started_at_unix_ns: int
    is_unresolved: bool


class LedgerReader:
    """Read access to one ledger file; every method is its own snapshot.

    Raises:
        LedgerError: From any method, when the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def balances(self) -> tuple[Balance, ...]:
        """Return every account with its limit, oldest budget first."""
        return tuple(_balance(row) for row in self.rows(f"{_ACCOUNTS} ORDER BY id"))

    def balances_of(
        self, periods: Iterable[tuple[str, str]], *, most_scopes: int
    ) -> tuple[Balance, ...]:
        """Return the accounts of (budget, period) pairs: the undivided ones, and the newest others.

        Args:
            periods: Ids of budgets, each with the key of one period.
            most_scopes: How many accounts of a divided budget to return at most.
        """
        of_period = f"{_ACCOUNTS} WHERE budget_id = ? AND period = ?"
        query = (
            f"{of_period} AND scope = '' UNION ALL SELECT * FROM"  # noqa: S608 - our own words
            f" ({of_period} AND scope <> '' ORDER BY id DESC LIMIT ?)"
        )
        return tuple(
            _balance(row)
            for budget_id, period in periods
            for row in self.rows(query, (budget_id, period, budget_id, period, most_scopes))
        )

    def balances_at(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order; nothing is counted in one that is unknown."""
        query = f"{_ACCOUNTS} WHERE budget_id = ? AND scope = ? AND period = ? AND unit = ?"
        found: list[Balance] = []
        for account in accounts:
            key = (account.budget_id, account.scope, account.period, account.unit)
            row = next(iter(self.rows(query, key)), None)
            known = Balance(account=account) if row is None else _balance(row)
            found.append(msgspec.structs.replace(known, account=account))
        return tuple(found)

    def touch(self, touch: Touch) -> str:
        """Name the period that the owner of an account is in; nothing is noted."""
        found = next(iter(self.rows(LOOK, look_for(touch))), None)
        return period_of(found, touch, time.time_ns())

    def events(
        self,
        *,
        since_unix_ns: int = 0,
        until_unix_ns: int | None = None,
        newest: int | None = None,
        where: Where = NO_FILTER,
    ) -> Iterator[Event]:
        """Yield events in the order in which they were stored; only the `newest` when given.

        Args:
            since_unix_ns: Leave out what started before this.
            until_unix_ns: Leave out what started at this time or later.
            newest: How many at most: those that were stored last.
            where: Dimension (of `DIMENSIONS`, or `tag.<name>`) → the value that an event must have.
        """
        for _, event in self.numbered_events(
            since_unix_ns=since_unix_ns, until_unix_ns=until_unix_ns, newest=newest, where=where
        ):
            yield event

    def numbered_events(
        self,
        *,
        after: int = 0,
        since_unix_ns: int = 0,
        until_unix_ns: int | None = None,
        newest: int | None = None,
        where: Where = NO_FILTER,
    ) -> Iterator[tuple[int, Event]]:
        """Yield events as `events` does, those with a number beyond `after`, with their numbers.

        Numbers rise as events are stored, and start anew when the file is rebuilt.
        """
        condition, arguments = _condition(since_unix_ns, until_unix_ns, where)
        query = f"SELECT seq, data FROM ({_EVENTS}) WHERE seq > ? AND {condition} ORDER BY seq"  # noqa: S608 - names of ours
        if newest is not None:
            query = f"SELECT * FROM ({query} DESC LIMIT ?) ORDER BY seq"  # noqa: S608
            arguments.append(newest)
        for number, data in self.rows(query, (after, *arguments)):
            yield number, self._decoded(data)

    def events_by_start(
        self, *, since_unix_ns: int = 0, until_unix_ns: int | None = None
    ) -> Iterator[Event]:
        """Yield events in the order in which their calls started; memory stays bounded.

        Numbers and times alone are sorted, by SQLite, which puts them on disk where they are many.
        Meanwhile writers go on, and their write-ahead log grows.
        """
        condition, arguments = _condition(since_unix_ns, until_unix_ns, NO_FILTER)
        query = (
            "SELECT data FROM"  # noqa: S608 - our own words
            f" (SELECT seq AS number FROM events WHERE {condition}"
            " ORDER BY time_unix_ns, seq LIMIT -1)"
            " CROSS JOIN events ON seq = number"
        )
        for (data,) in self.rows(query, tuple(arguments)):
            yield self._decoded(data)

    def charged_before(self, unix_ns: int) -> Iterator[Charge]:
        """Yield what calls that started before a moment are charged with, account by account."""
        for row in self.rows(
            "SELECT json_extract(value, '$.budget_id'), coalesce(json_extract(value, '$.scope'),"
            " ''), coalesce(json_extract(value, '$.period'), ''),"
            " coalesce(json_extract(value, '$.unit'), 'usd'),"
            " sum(coalesce(json_extract(value, '$.posted'), 0)),"
            " sum(coalesce(json_extract(value, '$.unresolved'), 0))"
            " FROM events, json_each(CAST(data AS TEXT), '$.charges')"
            " WHERE kind IN ('usage', 'total', 'sent') AND time_unix_ns < ? GROUP BY 1, 2, 3, 4",
            (unix_ns,),
        ):
            yield Charge(
                budget_id=row[0],
                scope=row[1],
                period=row[2],
                unit=row[3],
                posted=row[4],
                unresolved=row[5],
            )

    def numbered_facts(
        self, *, after: int, since_unix_ns: int, with_sent: bool = False
    ) -> Iterator[tuple[int, Fact]]:
        """Yield events and adjustments alike, in the order in which they were stored.

        Args:
            after: A number; see `numbered_events`.
            since_unix_ns: Leave out what is from before this.
            with_sent: Totals of events that were sent one by one are there too.
        """
        condition = "seq > ? AND time_unix_ns >= ?"
        more = "" if with_sent else " AND kind <> 'sent'"
        yield from self.facts(f"{condition}{more}", (after, since_unix_ns))

    def adjustments(self) -> Iterator[Adjustment]:
        """Yield what operators have posted, oldest first."""
        for _, fact in self.facts("kind = 'adjustment'", ()):
            if isinstance(fact, Adjustment):
                yield fact

    def facts(self, condition: str, values: tuple[object, ...]) -> Iterator[tuple[int, Fact]]:
        """Yield what meets a condition of this room's words, in the order in which it was stored.

        Raises:
            LedgerCorruptError: Some event can't be read.
        """
        query = f"SELECT seq, data FROM events WHERE {condition} ORDER BY seq"  # noqa: S608 - ours
        for number, data in self.rows(query, values):
            try:
                fact = decode_fact(data)
            except NO_EVENT as error:
                raise LedgerCorruptError(
                    f"{self.path} has an event that can't be read ({error}):"
                    " run `tollspan ledger rebuild`"
                ) from error
            yield number, fact

    def number_of(self, event_id: str, before_unix_ns: int) -> int:
        """Return an event's number; where it is not there, the last one's that started before."""
        for (number,) in self.rows(
            "SELECT coalesce((SELECT seq FROM events WHERE id = ?),"
            " (SELECT max(seq) FROM events WHERE time_unix_ns <= ?), 0)",
            (event_id, before_unix_ns),
        ):
            return int(number)
        return 0

    def highest_number(self) -> int:
        """Return the number of the event that was stored last; 0 when there is none."""
        for (highest,) in self.rows("SELECT coalesce(max(seq), 0) FROM events"):
            return int(highest)
        return 0

    def settled(self, authority: str) -> int:
        """Return up to which number events were settled with a shared authority."""
        for (number,) in self.rows(
            "SELECT value FROM meta WHERE key = ?", (f"{SETTLED}{authority}",)
        ):
            return int(number)
        return 0

    def newest_unix_ns(self) -> int | None:
        """Return when the newest call started, by the clocks of those that made it."""
        for (newest,) in self.rows("SELECT max(time_unix_ns) FROM events"):
            return None if newest is None else int(newest)
        return None

    def report(
        self,
        dimensions: Sequence[str],
        *,
        since_unix_ns: int = 0,
        until_unix_ns: int | None = None,
        where: Where = NO_FILTER,
    ) -> tuple[ReportRow, ...]:
        """Sum events by dimensions (see `is_dimension`), dearest first.

        The other arguments are those of `events`.
        """
        named = [_expression(name) for name in dimensions]
        groups = [expression for expression, _ in named]
        columns = "".join(f"{group}, " for group in groups)
        numbers = ", ".join(str(index + 1) for index in range(len(groups)))
        condition, arguments = _condition(since_unix_ns, until_unix_ns, where)
        query = (
            f"SELECT {columns} sum({_CALLS}), sum({_DENIED}),"  # noqa: S608
            f" sum({_CALLS} * (json_extract(d, '$.usage.status') = 'estimated')),"
            f" sum({_CALLS} * (json_extract(d, '$.usage.status') = 'unknown')),"
            f" sum({_CALLS} * (json_extract(d, '$.cost.status') IN ('unpriced', 'partial'))),"
            f" sum({_sum_of(INPUT_BUCKETS)}), sum({_sum_of(OUTPUT_BUCKETS)}),"
            f" coalesce(sum(cost_nanousd), 0), sum({_FOLDED})"
            f" FROM ({_EVENTS}) WHERE {condition}"
            + (f" GROUP BY {numbers}" if groups else "")
            + f" ORDER BY {', '.join(filter(None, (f'{len(groups) + 8} DESC', numbers)))}"
        )
        arguments = [*(value for _, values in named for value in values), *arguments]
        size = len(groups)
        return tuple(
            ReportRow(
                values=tuple(row[:size]),
                calls=row[size] or 0,
                denied=row[size + 1] or 0,
                estimated=row[size + 2] or 0,
                unknown=row[size + 3] or 0,
                unpriced=row[size + 4] or 0,
                input_tokens=row[size + 5] or 0,
                output_tokens=row[size + 6] or 0,
                cost_nanousd=row[size + 7] or 0,
                folded=row[size + 8] or 0,
            )
            for row in self.rows(query, tuple(arguments))
        )

    def used_bytes(self) -> int:
        """Return how much of the file has something in it."""
        sizes = [next(iter(self.rows(f"PRAGMA {name}")))[0] for name in _SIZES]
        return (int(sizes[0]) - int(sizes[1])) * int(sizes[2])

    def sightings(self) -> tuple[Sighting, ...]:
        """Return what was seen that should not happen."""
        return tuple(
            Sighting(kind=row[0], name=row[1], count=row[2], last_unix_ns=row[3])
            for row in self.rows("SELECT kind, name, count, last_unix_ns FROM sightings")
        )

    def open_holds(self) -> tuple[OpenHold, ...]:
        """Return what is held or unresolved, call by call, oldest first."""
        return tuple(
            OpenHold(
                call_id=row[0],
                account=Account(
                    budget_id=row[1], scope=row[2], period=row[3], unit=row[4], limit=0
                ),
                amount=row[5],
                started_at_unix_ns=row[6],
                is_unresolved=row[7] == 1,
            )
            for row in self.rows(
                "SELECT call_id, budget_id, scope, period, unit, amount,"
                " started_at_unix_ns, state"
                " FROM holds JOIN accounts ON accounts.id = account_id ORDER BY call_id"
            )
        )

    def jobs(self) -> tuple[DeferredHold, ...]:
        """Return what is kept for jobs whose end nobody has seen, oldest first."""
        query = "SELECT data FROM jobs ORDER BY deferred_at_unix_ns, call_id"
        return tuple([decode_deferred(data) for (data,) in self.rows(query)])

    def _decoded(self, data: bytes) -> Event:
        try:
            return decode_event(data)
        except NO_EVENT as error:
            raise LedgerCorruptError(
                f"{self.path} has an event that can't be read ({error}):"
                " run `tollspan ledger rebuild`"
            ) from error

    def rows(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield what a query of this room finds."""
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LedgerError(
                f"no ledger at {self.path}: nothing ran yet, or TOLLSPAN_HOME names another folder"
            ) from error
        except OSError as error:
            raise ledger_error(error, self.path) from error
        try:
            with contextlib.closing(
                sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS
                )
            ) as connection:
                yield from connection.execute(query, arguments)
        except sqlite3.Error as error:
            raise ledger_error(error, self.path) from error


def _balance(row: tuple[Any, ...]) -> Balance:
    return Balance(
        account=Account(budget_id=row[0], scope=row[1], period=row[2], unit=row[3], limit=row[4]),
        posted=row[5],
        held=row[6],
        unresolved=row[7],
    )


def _sum_of(buckets: tuple[str, ...]) -> str:
    return " + ".join(f"coalesce(json_extract(d, '$.usage.{name}'), 0)" for name in buckets)


def _expression(dimension: str) -> tuple[str, tuple[str, ...]]:
    """Return the SQL of a dimension's value, and the values that are bound in it."""
    if is_tag(dimension):
        return _TAG, (dimension.removeprefix(TAG_PREFIX),)
    return DIMENSIONS[dimension], ()


def _condition(
    since_unix_ns: int, until_unix_ns: int | None, where: Where
) -> tuple[str, list[object]]:
    """Return the SQL of a filter, and the values that are bound in it."""
    parts = ["time_unix_ns >= ?"]
    arguments: list[object] = [since_unix_ns]
    if until_unix_ns is not None:
        parts.append("time_unix_ns < ?")
        arguments.append(until_unix_ns)
    for name, value in where.items():
        expression, bound = _expression(name)
        parts.append(f"{expression} IS ?")
        arguments += [*bound, value]
    return " AND ".join(parts), arguments
