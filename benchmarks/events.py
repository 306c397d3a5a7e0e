"""How many events a server takes over HTTP for each second of its CPU time."""

from __future__ import annotations

import contextlib
import gzip
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import requests

from benchmarks.results import measured_with, now
from benchmarks.serving import cpu_seconds, make_key, peak_mib, server
from benchmarks.usage import events

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from tests.services import running_postgres
from tollspan.usage import BATCH_MEDIA_TYPE, encode_batch, encode_cloud_event

EVENTS: Final = 100_000
QUICK_EVENTS: Final = 3_000
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "speed-of-events.md"
_LEVEL: Final = 1
_PAUSE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 300
RULES: Final = """
version: 1
budgets:
  - {id: all, limit: 1000000 USD, window: lifetime}
  - {id: of-each, per: [customer], limit: 1000000 USD, window: lifetime}
"""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        database: `SQLite` or `PostgreSQL`.
        events: How many were sent.
        seconds: From the first body until the last was answered.
        cpu_seconds: Of the server's process, in that time.
        peak_mib: The most memory that the server has had.
        is_charged: Each event charged two budgets, since nobody had asked for its call.
    """

    database: str
    is_charged: bool
    events: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def each(self) -> float:
        """Events for each second of the server's CPU time."""
        return self.events / self.cpu_seconds


def run(count: int = EVENTS, *, is_quick: bool = False) -> None:
    """Measure, print, and write the page; when it is quick, only measure and print."""
    count = QUICK_EVENTS if is_quick else count
    found = [
        measure(name, count, is_charged=is_charged)
        for is_charged in (False, True)
        for name in ("SQLite", "PostgreSQL")
    ]
    print("\n".join(_sentence(one) for one in found))
    if not is_quick:
        PAGE.write_text(_page(found))


def measure(database: str, count: int, *, is_charged: bool) -> Load:
    """Send events to a server in another process; what they charge is posted in the time, too."""
    with contextlib.ExitStack() as stack:
        if database == "SQLite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tollspan-"))
            where = f"sqlite:{Path(folder) / 'server.db'}"
        else:
            where = stack.enter_context(running_postgres()).url
        secret = make_key(where, RULES if is_charged else None)
        address, pid = stack.enter_context(server(where))
        session = stack.enter_context(requests.Session())
        session.headers.update(
            {
                "Authorization": f"Bearer {secret}",
                "Content-Type": BATCH_MEDIA_TYPE,
                "Content-Encoding": "gzip",
            }
        )
        seconds, cpu_began, cost = 0.0, cpu_seconds(pid), 0
        for batch in events(count, time.time_ns()):
            body = encode_batch([encode_cloud_event(one) for one in batch])
            packed = gzip.compress(body, _LEVEL)
            began = time.perf_counter()
            answer = session.post(f"{address}/v1/events", data=packed, timeout=60)
            seconds += time.perf_counter() - began
            cost += sum(one.cost.amount_nanousd or 0 for one in batch)
            if answer.status_code != 200 or answer.content.count(b'"accepted"') != len(batch):
                raise RuntimeError(f"{answer.status_code}: {answer.content[:200]!r}")
        if is_charged:
            seconds += _wait_until_posted(session, address, cost)
        used, most = cpu_seconds(pid) - cpu_began, peak_mib(pid)
    return Load(
        database=database, is_charged=is_charged, events=count, seconds=seconds, cpu_seconds=used,
        peak_mib=most,
    )  # fmt: skip


def _wait_until_posted(session: requests.Session, address: str, cost_nanousd: int) -> float:
    """Wait until a budget has all that was spent; return how many seconds that took."""
    began = time.perf_counter()
    while time.perf_counter() - began < _PATIENCE_SECONDS:
        answer = session.get(f"{address}/v1/budgets?budget=all", timeout=60)
        if int(answer.json()["budgets"][0]["posted"]) == cost_nanousd:
            return time.perf_counter() - began
        time.sleep(_PAUSE_SECONDS)
    raise RuntimeError("what events charge is not posted")


def _sentence(found: Load) -> str:
    charged = ", each charged to two budgets" if found.is_charged else ""
    return (
        f"{found.database}: {found.events:,} events{charged}, {found.each:,.0f} for each second of "
        f"CPU time, {found.events / found.seconds:,.0f} a second; at most {found.peak_mib:,.0f} MiB"
    )


def _page(found: list[Load]) -> str:
    lines = "\n".join(f"- {_sentence(one)}" for one in found)
    return f"""# Speed of events

Written by `python -m benchmarks events`; do not edit.

{measured_with(now())}

One process sends events to `tollspan serve` in another, over HTTP on loopback, as a host's
[shipper](../how-to/ship-events.md) does: CloudEvents in batches of 1,000, in gzip, one batch after
the other. The calls began in the last 30 days: 1,000 customers, 100,000 sessions, 6 models, 8
features and 4 agents, each drawn by itself. Each event is unpacked, read, checked, looked for
among all that is known, stored, and added to the sums of its hour and day; it is durable when the
server answers. The CPU time is the server's process's, of all its threads; that of PostgreSQL's
own processes is not in it.

Where events are charged, their calls asked nobody at this server, and each is posted to two of its
budgets [afterwards](../how-to/serve.md#what-counts-there); the time is until all of them are. Of
calls that are held and settled here there is nothing to do then.

{lines}
"""
