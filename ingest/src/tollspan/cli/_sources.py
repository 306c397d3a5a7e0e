"""Where exports take calls from: this host's ledger, or a central one."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.pricing import PriceBook
from tollspan.reports import CountedSum, FocusCosts, costs_of, read_kept
from tollspan.usage import ConfigError, UsageEvent

from ._central import open_central

if TYPE_CHECKING:
    from tollspan.ledger.central import CentralLedger

_AT_ONCE: Final = 1_000
_NS: Final = 10**9
_DAY_NS: Final = 86_400 * _NS


def usage_events(parsed: argparse.Namespace) -> Iterator[UsageEvent]:
    """Yield the calls of a span of time, in the order in which they began."""
    if parsed.db is not None:
        yield from _central_events(parsed)
        return
    for event in _host().events_by_start(since_unix_ns=parsed.since, until_unix_ns=parsed.until):
        if isinstance(event, UsageEvent):
            yield event


def counted(
    parsed: argparse.Namespace, provider: str, *, since_unix_ns: int, until_unix_ns: int
) -> Iterator[CountedSum]:
    """Yield what was counted of one provider, by day and model.

    Args:
        parsed: Says whose ledger.
        provider: As in `gen_ai.provider.name`.
        since_unix_ns: A midnight, UTC.
        until_unix_ns: Likewise.
    """
    if parsed.db is not None:
        yield from _central_sums(parsed, provider, since_unix_ns, until_unix_ns)
        return
    for row in _host().report(
        ("day", "model"),
        since_unix_ns=since_unix_ns,
        until_unix_ns=until_unix_ns,
        where={"provider": provider},
    ):
        day, model = row.values
        yield CountedSum(
            day=day or "", model=model or "", calls=row.calls, cost_nanousd=row.cost_nanousd,
            unpriced=row.unpriced, estimated=row.estimated + row.unknown,
        )  # fmt: skip


def _host() -> LedgerReader:
    return LedgerReader(ledger_home_in_force() / LEDGER_FILE)


@contextlib.contextmanager
def _central(parsed: argparse.Namespace) -> Generator[CentralLedger]:
    with open_central(parsed.db) as ledger:
        if parsed.tenant not in {one.name for one in ledger.tenants.all()}:
            raise ConfigError(f"there is no tenant {parsed.tenant[:80]!r} in {ledger.name}")
        yield ledger


def _central_events(parsed: argparse.Namespace) -> Iterator[UsageEvent]:
    from tollspan.ledger.central import CALL_KINDS, EventQuery, counted_call  # noqa: PLC0415 - an extra

    query = EventQuery(
        since_unix_ns=parsed.since, until_unix_ns=parsed.until, kinds=CALL_KINDS,
        is_only_counted=True, most=_AT_ONCE,
    )  # fmt: skip
    with _central(parsed) as ledger:
        for one in ledger.reader.all(parsed.tenant, query):
            call = counted_call(one.fact)
            if call is not None:
                yield call


def central_costs(
    parsed: argparse.Namespace, book: PriceBook, published: PriceBook | None
) -> Iterator[FocusCosts]:
    """Yield costs of a tenant's calls; of those that are gone, what is kept of days.

    Raises:
        NotKeptError: Hours or single calls are asked for of what is only kept by the day.
    """
    with _central(parsed) as ledger:
        kept_from = ledger.retention.horizon.kept_from_ns
        if parsed.since < kept_from:
            before = min(parsed.until or kept_from, kept_from)
            is_hourly = parsed.by != "day"
            days = ledger.retention.days(parsed.tenant, parsed.since, before, is_hourly=is_hourly)
            for kept in days:
                for group in kept.groups:
                    yield read_kept(kept.day * _DAY_NS, group.owner, group.parts)
    later = argparse.Namespace(**{**vars(parsed), "since": max(parsed.since, kept_from)})
    for event in _central_events(later):
        yield costs_of(event, book, published)


def _central_sums(
    parsed: argparse.Namespace, provider: str, since_unix_ns: int, until_unix_ns: int
) -> Iterator[CountedSum]:
    from tollspan.ledger.central import UsageQuery  # noqa: PLC0415 - an extra

    query = UsageQuery(
        since_unix_ns=since_unix_ns, until_unix_ns=until_unix_ns, group_by=("model",),
        bucket="day", where={"provider": provider}, most=_AT_ONCE,
    )  # fmt: skip
    with _central(parsed) as ledger:
        is_last = False
        while not is_last:
            page = ledger.usage.usage(parsed.tenant, query)
            for row in page.rows:
                start, sums = row.start_unix_ns or 0, row.sums
                yield CountedSum(
                    day=f"{datetime.fromtimestamp(start // _NS, UTC):%Y-%m-%d}",
                    model=row.values[0] or "", calls=sums.calls, cost_nanousd=sums.cost_nanousd,
                    unpriced=sums.unpriced, estimated=sums.estimated + sums.unknown,
                )  # fmt: skip
            query = msgspec.structs.replace(query, skip=query.skip + len(page.rows))
            is_last = page.is_last
