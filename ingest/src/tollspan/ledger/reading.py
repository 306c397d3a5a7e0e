"""Reads a ledger for people: budgets, events, sums. Opens the file read-only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tollspan.budget import Account, Balance
from tollspan.usage import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    Event,
    LedgerCorruptError,
    LedgerError,
    decode_event,
)

from ._rescue import NO_EVENT
from ._session import ledger_error

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
    "outcome": "json_extract(d, '$.outcome.status')",
    "day": "strftime('%Y-%m-%d', time_unix_ns / 1000000000, 'unixepoch')",
    "hour": "strftime('%Y-%m-%dT%H', time_unix_ns / 1000000000, 'unixepoch')",
}


_ACCOUNTS = (
    "SELECT budget_id, scope, period, limit_nanousd, posted_nanousd, held_nanousd,"
    " unresolved_nanousd FROM accounts"
)


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of the events that share one value of each dimension asked for.

    Attributes:
        values: The values, in the order of the dimensions; None where nobody said one.
        calls, denied: Usage events and refusals.
        estimated, unknown, unpriced: Of the calls, how many have such a usage or cost.
        input_tokens, output_tokens: Inclusive sums.
        cost_nanousd: Sum of the known costs.
        unresolved_nanousd: Sum of what may have been spent besides, in the budget with the most.
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


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Something counted that should not happen."""

    kind: str
    name: str
    count: int
    last_unix_ns: int


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that holds money: in flight, or unresolved since its process died."""

    call_id: str
    budget_id: str
    amount_nanousd: int
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
        return tuple(_balance(row) for row in self._rows(f"{_ACCOUNTS} ORDER BY id"))

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
            for row in self._rows(query, (budget_id, period, budget_id, period, most_scopes))
        )

    def events(self, *, since_unix_ns: int = 0, newest: int | None = None) -> Iterator[Event]:
        """Yield events in the order in which they were stored; only the `newest` when given."""
        if newest is None:
            query = "SELECT data FROM events WHERE time_unix_ns >= ? ORDER BY seq"
            arguments: tuple[int, ...] = (since_unix_ns,)
        else:
            query = (
                "SELECT data FROM (SELECT seq, data FROM events WHERE time_unix_ns >= ?"
                " ORDER BY seq DESC LIMIT ?) ORDER BY seq"
            )
            arguments = (since_unix_ns, newest)
        for (data,) in self._rows(query, arguments):
            try:
                event = decode_event(data)
            except NO_EVENT as error:
                raise LedgerCorruptError(
                    f"{self.path} has an event that can't be read ({error}):"
                    " run `tollspan ledger rebuild`"
                ) from error
            yield event

    def report(
        self, dimensions: tuple[str, ...], *, since_unix_ns: int = 0
    ) -> tuple[ReportRow, ...]:
        """Sum events by dimensions (names of `DIMENSIONS`), dearest first."""
        groups = [DIMENSIONS[name] for name in dimensions]
        columns = "".join(f"{group}, " for group in groups)
        numbers = ", ".join(str(index + 1) for index in range(len(groups)))
        query = (
            f"SELECT {columns} sum(kind = 'usage'), sum(kind = 'decision'),"  # noqa: S608
            " sum(kind = 'usage' AND json_extract(d, '$.usage.status') = 'estimated'),"
            " sum(kind = 'usage' AND json_extract(d, '$.usage.status') = 'unknown'),"
            " sum(kind = 'usage' AND json_extract(d, '$.cost.status') IN ('unpriced', 'partial')),"
            f" sum({_sum_of(INPUT_BUCKETS)}), sum({_sum_of(OUTPUT_BUCKETS)}),"
            " coalesce(sum(cost_nanousd), 0)"
            " FROM (SELECT kind, time_unix_ns, cost_nanousd, CAST(data AS TEXT) AS d FROM events"
            " WHERE time_unix_ns >= ?)"
            + (f" GROUP BY {numbers}" if groups else "")
            + f" ORDER BY {len(groups) + 8} DESC"
        )
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
            )
            for row in self._rows(query, (since_unix_ns,))
        )

    def sightings(self) -> tuple[Sighting, ...]:
        """Return what was seen that should not happen."""
        return tuple(
            Sighting(kind=row[0], name=row[1], count=row[2], last_unix_ns=row[3])
            for row in self._rows("SELECT kind, name, count, last_unix_ns FROM sightings")
        )

    def open_holds(self) -> tuple[OpenHold, ...]:
        """Return what is held or unresolved, call by call, oldest first."""
        return tuple(
            OpenHold(
                call_id=row[0],
                budget_id=row[1],
                amount_nanousd=row[2],
                started_at_unix_ns=row[3],
                is_unresolved=row[4] == 1,
            )
            for row in self._rows(
                "SELECT call_id, budget_id, amount_nanousd, started_at_unix_ns, state"
                " FROM holds JOIN accounts ON accounts.id = account_id ORDER BY call_id"
            )
        )

    def _rows(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if not self.path.exists():
            raise LedgerError(
                f"no ledger at {self.path}: nothing ran yet, or TOLLSPAN_HOME names another folder"
            )
        try:
            with contextlib.closing(
                sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5.0)
            ) as connection:
                yield from connection.execute(query, arguments)
        except sqlite3.Error as error:
            raise ledger_error(error, self.path) from error


def _balance(row: tuple[Any, ...]) -> Balance:
    return Balance(
        account=Account(budget_id=row[0], scope=row[1], period=row[2], limit_nanousd=row[3]),
        posted_nanousd=row[4],
        held_nanousd=row[5],
        unresolved_nanousd=row[6],
    )


def _sum_of(buckets: tuple[str, ...]) -> str:
    return " + ".join(f"coalesce(json_extract(d, '$.usage.{name}'), 0)" for name in buckets)
