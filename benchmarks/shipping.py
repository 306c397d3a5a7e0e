"""How fast a host's events are sent once a server that was away is back."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.results import measured_with, now
from tests.contract.ledger.making import account, charge, event, new_id
from tollspan.exporter import Shipper
from tollspan.ledger import SQLiteLedger
from tollspan.usage import Attribution, Usage, UsageEvent

EVENTS: Final = 100_000
QUICK_EVENTS: Final = 2_000
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "speed-of-shipping.md"
_ACCOUNT = account("org-month", limit=10**15, period="2026-11")


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """One drain.

    Attributes:
        events: How many were sent.
        seconds: From the first question to the server until the last batch was noted.
        cpu_seconds: Of the process that sends.
    """

    events: int
    seconds: float
    cpu_seconds: float


def run(events: int = EVENTS, *, is_quick: bool = False) -> None:
    """Measure, print, and write the page; when it is quick, only measure and print."""
    found = measure(QUICK_EVENTS if is_quick else events)
    print(_sentence(found))
    if not is_quick:
        PAGE.write_text(_page(found))


def measure(events: int) -> Drain:
    """Fill a ledger, and send what is in it to a server in another process."""
    with tempfile.TemporaryDirectory(prefix="tollspan-") as folder, _server() as address:
        ledger = SQLiteLedger(Path(folder))
        _fill(ledger, events)
        shipper = Shipper(ledger, address, "tsp_bench")
        began, cpu_began = time.perf_counter(), time.process_time()
        sent = shipper.ship()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        ledger.close()
    if sent != events:
        raise RuntimeError(f"{sent} of {events} events were sent")
    return Drain(events=events, seconds=seconds, cpu_seconds=cpu)


@contextmanager
def _server() -> Generator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.shipping_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        if server.stdout is None or server.stdin is None:
            raise RuntimeError("the server has no pipes")
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.stdin.close()


def _fill(ledger: SQLiteLedger, events: int) -> None:
    now = time.time_ns()
    for number in range(events):
        ledger.post(_event(number, now + number), None)


def _event(number: int, at_unix_ns: int) -> UsageEvent:
    """Return an event as large as a usual one."""
    made = event(new_id(), charge(_ACCOUNT, posted=number % 5_000), cost=number % 5_000)
    call = msgspec.structs.replace(
        made.call,
        started_at_unix_ns=at_unix_ns,
        attribution=Attribution(
            customer=f"customer-{number % 97}",
            session=f"session-{number % 1009}",
            feature="search",
            service="shop",
            tags=(("tier", "pro"),),
        ),
    )
    usage = Usage(input_uncached=1_200, cache_read=800, output=350, reasoning=64)
    return msgspec.structs.replace(
        made, call=call, usage=usage, traceparent=f"00-{number:032x}-{number + 1:016x}-01"
    )


def _sentence(found: Drain) -> str:
    rate, each = found.events / found.seconds, found.events / found.cpu_seconds
    return (
        f"{found.events:,} events were sent in {found.seconds:.1f} s: {rate:,.0f} a second, "
        f"{each:,.0f} for each second of CPU time"
    )


def _page(found: Drain) -> str:
    return f"""# Speed of shipping

Written by `python -m benchmarks shipping`; do not edit.

{measured_with(now())}

A ledger is filled while no server is there. Then one process [sends](../how-to/ship-events.md)
everything to a server in another process, over HTTP on loopback, which takes each event apart, and
gives a verdict on it: reading, writing as CloudEvents, compressing, sending and noting what became
of each batch.

{_sentence(found)}.
"""
