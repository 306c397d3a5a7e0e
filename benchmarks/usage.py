"""How long questions of `/v1/usage` take, over so many events: `python -m benchmarks.usage`.

Events are stored through the central ledger's own store, in batches of 1,000, spread over 30 days:
1,000 customers, 6 models of 2 providers, 8 features, 4 agents. Each question is asked 7 times by a
reader in the same process; the median and the longest are told. PostgreSQL is one that the tests'
own harness starts on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from benchmarks.multiplying import multiply
from tests.services import running_postgres
from tollspan.ledger.central import CentralLedger, UsageQuery
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Usage,
    UsageEvent,
    new_call_id,
)

DAYS = 30
DAY_NS = 86_400 * 10**9
BATCH = 1_000
TIMES = 7
TENANT = "acme"
MODELS = (
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-5.5"),
    ("anthropic", "claude-haiku-4-5"), ("anthropic", "claude-opus-5"),
    ("anthropic", "claude-sonnet-5"),
)  # fmt: skip


def events(count: int, end_ns: int, seed: int = 7, days: int = DAYS) -> Iterator[list[UsageEvent]]:
    """Yield batches of events in the order of their times, spread over days."""
    dice = random.Random(seed)
    start = end_ns - days * DAY_NS
    for first in range(0, count, BATCH):
        batch = min(BATCH, count - first)
        yield [_event(dice, start + (first + n) * days * DAY_NS // count) for n in range(batch)]


def _event(dice: random.Random, at: int) -> UsageEvent:
    provider, model = dice.choice(MODELS)
    into, out = dice.randrange(50, 4_000), dice.randrange(10, 800)
    return UsageEvent(
        call=Call(
            id=new_call_id(at), started_at_unix_ns=at,
            request=Request(provider=provider, operation="chat", model=model),
            attribution=Attribution(
                customer=f"customer-{int(dice.paretovariate(0.9)) % 1_000}",
                feature=f"feature-{dice.randrange(8)}", agent=f"agent-{dice.randrange(4)}",
                session=f"session-{dice.randrange(100_000)}", service="shop", environment="live",
            ),
        ),
        decision=DecisionNote(), outcome=Outcome(status="ok"),
        usage=Usage(input_uncached=into, output=out),
        cost=Cost(status="priced", amount_nanousd=into * 150 + out * 600),
    )  # fmt: skip


def questions(end_ns: int) -> dict[str, UsageQuery]:
    """Return what is asked, by what people call it."""
    midnight = end_ns // DAY_NS * DAY_NS
    week = midnight - 7 * DAY_NS
    return {
        "total of 30 days": UsageQuery(),
        "by day, 30 days": UsageQuery(bucket="day"),
        "by hour, 30 days": UsageQuery(bucket="hour"),
        "the 50 dearest customers, 30 days": UsageQuery(
            group_by=("customer",), order="cost", most=50
        ),
        "by model and day": UsageQuery(group_by=("model",), bucket="day"),
        "by customer and day, 7 days": UsageQuery(
            group_by=("customer",), bucket="day", since_unix_ns=week, most=10_000
        ),
        "by customer and hour, 1 day": UsageQuery(
            group_by=("customer",), bucket="hour", since_unix_ns=midnight - DAY_NS, most=10_000
        ),
        "by customer and model, 7 days": UsageQuery(
            group_by=("customer", "model"), since_unix_ns=week, most=10_000
        ),
        "by customer and model, 30 days": UsageQuery(
            group_by=("customer", "model"), order="cost", most=1_000
        ),
        "one customer by model, feature and day": UsageQuery(
            group_by=("model", "feature"), bucket="day", where={"customer": "customer-1"}
        ),
        "by model and feature, by month": UsageQuery(group_by=("model", "feature"), bucket="month"),
        "one session (reads events)": UsageQuery(
            group_by=("session", "model"), where={"session": "session-7"}
        ),
        "by session, the last hour (reads events)": UsageQuery(
            group_by=("session",), since_unix_ns=end_ns - 3_600 * 10**9
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a question took.

    Attributes:
        rows: How many the answer had.
        median_ms, longest_ms: Of the times it was asked.
    """

    rows: int
    median_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What storing took: events, their seconds, and those of this process's CPU."""

    events: int
    seconds: float
    cpu_seconds: float


def store(ledger: CentralLedger, count: int, end_ns: int, seed: int = 7) -> Stored:
    """Store so many events of the last days."""
    made = cpu = 0.0
    for batch in events(count, end_ns, seed):
        before, used = time.perf_counter(), time.process_time()
        ledger.events.store(TENANT, batch)
        made += time.perf_counter() - before
        cpu += time.process_time() - used
    return Stored(events=count, seconds=made, cpu_seconds=cpu)


def ask(ledger: CentralLedger, end_ns: int) -> dict[str, Asked]:
    """Ask all questions; return what each took."""
    found: dict[str, Asked] = {}
    for name, query in questions(end_ns).items():
        taken: list[float] = []
        rows = 0
        for _ in range(TIMES):
            before = time.perf_counter()
            rows = len(ledger.usage.usage(TENANT, query).rows)
            taken.append((time.perf_counter() - before) * 1_000)
        found[name] = Asked(rows=rows, median_ms=statistics.median(taken), longest_ms=max(taken))
    return found


def measure(where: str, count: int, times: int = 1) -> list[str]:
    """Store so many events, copy each so often, ask, and return the lines of a table."""
    end = time.time_ns()
    with contextlib.closing(CentralLedger(where)) as ledger:
        ledger.tenants.create(TENANT, actor="benchmark")
        stored = store(ledger, count, end)
        if times > 1:
            multiply(where, times)
        asked = ask(ledger, end)
    rates = f"{count / stored.seconds:,.0f} ({count / stored.cpu_seconds:,.0f})"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        f"| stored, events a second (and by CPU time) | {rates} | |",
        *(
            f"| {name} ({one.rows:,} rows) | {one.median_ms:,.1f} | {one.longest_ms:,.1f} |"
            for name, one in asked.items()
        ),
        f"| most memory of this process, MiB | {peak:,.0f} | |",
    ]


def main() -> None:
    """Measure, and print a table for each database."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.usage", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--copies", type=int, default=1, metavar="N", help="of each event, in SQL")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    asked = parser.parse_args()
    for name in asked.database or ("sqlite", "postgresql"):
        with contextlib.ExitStack() as stack:
            if name == "sqlite":
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                where = f"sqlite:{folder / 'usage.db'}"
            else:
                where = stack.enter_context(running_postgres()).url
            lines = measure(where, asked.events, asked.copies)
        print(f"\n{name}, {asked.events * asked.copies:,} events\n")
        print("| question | median ms | longest ms |")
        print("|---|---|---|", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
