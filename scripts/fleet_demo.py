"""A fleet, for eyes: three programs, unchanged, spend one budget, and everybody's books agree.

Two services and a worker under `opentelemetry-instrument`; behind them a Collector, the ingest
server on PostgreSQL and Redis, Jaeger and Prometheus, all real and on loopback. The providers are
fakes that keep their own bills. With `--keep` all of it stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import go_programs  # noqa: E402 - after the path
import services  # noqa: E402
from tests.collector.agreeing import Books, books_of  # noqa: E402
from tests.collector.fleet import PROGRAMS, Fleet  # noqa: E402
from tests.collector.load import Load  # noqa: E402

FOLDER = ROOT / ".cache" / "fleet-demo"
LOAD_SECONDS = 60.0
BOOKS_SECONDS = 30.0
INTERRUPTED = 130


def main(*, is_kept: bool) -> int:
    """Run the demo; return 0 when the books agree."""
    services.ensure()
    for program in (go_programs.collector(), go_programs.jaeger()):
        go_programs.ensure(program)
    is_quick = bool(os.environ.get("CI"))
    began = time.monotonic()
    print("Starting PostgreSQL, Redis, the ingest server, a Collector, Jaeger, Prometheus, and")
    print(f"three programs under opentelemetry-instrument: {', '.join(PROGRAMS)} ...", flush=True)
    fleet = Fleet(
        FOLDER,
        limit="0.012" if is_quick else "0.08",
        latency_seconds=0.0 if is_quick else 0.1,
    )
    with fleet, ending_in_order():
        print(f"All of it runs, after {time.monotonic() - began:.0f} s.")
        load = Load(fleet, pace_seconds=0.08 if is_quick else 0.25)
        spend(load)
        books = await_agreement(load)
        show(books)
        if is_kept:
            keep(fleet)
    return 1 if books.disagreements() else 0


@contextmanager
def ending_in_order() -> Generator[None]:
    """Once it has begun to end, a further Ctrl-C leaves no process behind."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def spend(load: Load) -> None:
    """Have the programs called until the budget refuses each of them, and show how that goes."""
    title("Three programs, one budget: what their clients see, and what the server counts, USD")
    print("".join([" " * 7, *(f"{name:<17}" for name in PROGRAMS), "the budget"]))
    print(
        "".join([" " * 7, "calls  refused   " * len(PROGRAMS), "     spent       held      limit"])
    )
    began = time.monotonic()
    with load.running():
        while not load.is_over and time.monotonic() - began < LOAD_SECONDS:
            time.sleep(1)
            budget = load.look()
            tallies = (f"{one.answered:5}{one.refused:9}   " for one in load.tallies.values())
            amounts = (f"{int(budget[name]) / 10**9:11.6f}" for name in ("posted", "held", "limit"))
            seconds = f"{time.monotonic() - began:4.0f} s "
            print("".join([seconds, *tallies, *amounts]), flush=True)


def await_agreement(load: Load) -> Books:
    """Return the books once they agree, or as they are after a while."""
    give_up_at = time.monotonic() + BOOKS_SECONDS
    books = books_of(load)
    while books.disagreements() and time.monotonic() < give_up_at:
        time.sleep(0.5)
        books = books_of(load)
    return books


def show(books: Books) -> None:
    """Print what everybody's books say, and whether it is the same."""
    title("What became of it")
    print(f"{'program':<12}{'calls':>6}{'refused':>9}{'cost USD':>14}")
    for name, line in books.lines.items():
        print(f"{name:<12}{line.calls:>6}{line.refused:>9}{usd(line.nanousd):>14}")
    print(f"{'together':<12}{books.served[0]:>6}{books.refused:>9}{usd(books.served[1]):>14}")
    title("One budget over all of them, USD")
    amounts = {
        "limit": books.limit,
        "spent": books.posted,
        "held now": books.held,
        "spent and held, at most": books.most_counted,
    }
    for name, nanousd in amounts.items():
        print(f"{name:<26}{usd(nanousd)}")
    title("The same calls in everybody's books, USD")
    rows = {
        "bills of the providers": (books.requests, books.billed),
        "ingest server, /v1/usage": books.served,
        "ledgers of the hosts": books.on_hosts,
    }
    for name, (calls, nanousd) in rows.items():
        print(f"{name:<26}{usd(nanousd)}  {calls} calls")
    title("Telemetry")
    print(f"Jaeger: {books.seen} spans of calls; {books.seen_refused} of refused ones, all red")
    print("Prometheus:")
    for query, value in books.counted.items():
        print(f"  {query:<62} {value:.10g}")
    wrong = books.disagreements()
    print("\nALL BOOKS AGREE" if not wrong else f"\nTHEY DO NOT AGREE: {'; '.join(wrong)}")


def keep(fleet: Fleet) -> None:
    """Say where everything is, and wait for Ctrl-C."""
    denied = quote(json.dumps({"tollspan.decision": "deny"}))
    places: Mapping[str, str] = {
        "the page": f"{fleet.server.url}/",
        "  its key": fleet.key,
        "Jaeger": f"{fleet.jaeger.url}/api/traces?service=chat&tags={denied}",
        "Prometheus": fleet.prometheus.url,
        "chat": f"{fleet.programs['chat'].url}/docs",
        "summaries": fleet.programs["summaries"].url,
        "files": str(fleet.folder),
    }
    title("It stays until Ctrl-C")
    for name, place in places.items():
        print(f"{name:<12}{place}")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def usd(nanousd: int) -> str:
    """Write an amount to the nano-dollar."""
    return f"{nanousd // 10**9}.{nanousd % 10**9:09}"


def title(text: str) -> None:
    """Print a line that begins something new."""
    print(f"\n{text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watch a fleet spend one budget.")
    parser.add_argument("--keep", action="store_true", help="leave all running until Ctrl-C")
    asked = parser.parse_args()
    # Whoever ends it, whatever it has started is ended with it.
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.default_int_handler)
    try:
        sys.exit(main(is_kept=asked.keep))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
