"""What the ledger benchmarks share: percentiles, and calls that touch five budgets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from tollspan.budget import (
    EVERY,
    Account,
    Assignment,
    Budget,
    Closing,
    Condition,
    Decision,
    Hold,
    RuleSet,
    Window,
)
from tollspan.usage import Attribution, Bound, Call, Outcome, Request, Response, Usage, new_call_id

BOUND_NANOUSD = 450_000
LIMIT_NANOUSD = 1 << 59
REQUEST = Request(
    provider="openai",
    operation="chat",
    model="gpt-4o-mini",
    host="api.openai.com",
    input_bytes=4_200,
    max_output_tokens=512,
)
RESPONSE = Response(
    id="chatcmpl-C4vK2mNqXw81bYtRz7sLpJd0",
    model="gpt-4o-mini-2024-07-18",
    finish_reasons=("stop",),
)
USAGE = Usage(input_uncached=400, cache_read=512, output=48)
_OUTCOME = Outcome(status="ok", duration_ns=800_000_000, response=RESPONSE)


class Latency(msgspec.Struct, kw_only=True):
    """Percentiles of many steps, in µs."""

    p50: float
    p99: float
    p999: float
    max: float
    steps: int

    @classmethod
    def of(cls, values_ns: list[int]) -> Latency:
        """Sum up the steps' nanoseconds."""
        ordered = sorted(values_ns)
        last = len(ordered) - 1

        def at(share: float) -> float:
            return ordered[min(last, int(share * len(ordered)))] / 1e3

        return cls(p50=at(0.5), p99=at(0.99), p999=at(0.999), max=at(1), steps=len(ordered))

    def __str__(self) -> str:
        return " / ".join(f"{value:,.1f}" for value in (self.p50, self.p99, self.p999, self.max))


class FixedBounds:
    """Bounds every request alike at no cost: what it leaves is matching and holding."""

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        """Return the one bound."""
        return _BOUND

    def most_of(
        self, request: Request, unit: str, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        """Return the one bound in any other unit."""
        return 1_000, ()


_BOUND = Bound(amount_nanousd=BOUND_NANOUSD)


def rule_set(budgets: int) -> RuleSet:
    """Return budgets with every window in turn."""
    return RuleSet(
        budgets=tuple(
            Budget(
                id=f"budget-{number}",
                limit=LIMIT_NANOUSD,
                window=Window(every=EVERY[number % len(EVERY)]),
            )
            for number in range(budgets)
        )
    )


def owners_rules(owners: int) -> RuleSet:
    """Return a budget for each of so many customers, by name."""
    return RuleSet(
        budgets=tuple(
            Budget(
                id=f"budget-{number}",
                limit=LIMIT_NANOUSD,
                where=(Condition("customer", (f"customer-{number}",)),),
            )
            for number in range(owners)
        )
    )


def assigned_rules(customers: int) -> RuleSet:
    """Return a plan of two budgets, and so many customers that have it, from days of their own."""
    day = date(2026, 1, 1)
    windows = (Window(every="month"), Window(every="day"))
    return RuleSet(
        budgets=tuple(
            Budget(
                id=f"pro-{window.every}",
                limit=LIMIT_NANOUSD,
                per=("customer",),
                plan="pro",
                window=window,
            )
            for window in windows
        ),
        assign=tuple(
            (f"customer-{number}", Assignment("pro", day + timedelta(days=number % 365)))
            for number in range(customers)
        ),
    )


def accounts(count: int) -> tuple[Account, ...]:
    """Return so many accounts."""
    return tuple(
        Account(budget_id=f"budget-{n}", scope="", period="", limit=LIMIT_NANOUSD)
        for n in range(count)
    )


def calls(customers: tuple[str, ...] = ("acme",)) -> Iterator[Call]:
    """Return fresh calls without end, by the customers in turn."""
    owners = [Attribution(customer=one, session="session-2026-11-22-0042") for one in customers]
    for attribution in itertools.cycle(owners):
        now = time.time_ns()
        yield Call(
            id=new_call_id(now), started_at_unix_ns=now, request=REQUEST, attribution=attribution
        )


def holds(count: int) -> Iterator[tuple[Call, Hold]]:
    """Return fresh calls and what each holds in so many accounts."""
    legs = tuple((account, BOUND_NANOUSD) for account in accounts(count))
    for call in calls():
        yield (
            call,
            Hold(call_id=call.id, started_at_unix_ns=call.started_at_unix_ns, legs=legs),
        )


def closing(call: Call, decision: Decision) -> Closing:
    """Return the end of a call that went well."""
    return Closing(call, decision, USAGE, _OUTCOME)
