"""What must hold after a run of chaos, computed of what everybody says; nothing is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tests.e2e.fleet import NUMBERS_OF_A_WORKER
from tollspan.budget import Balance
from tollspan.usage import format_usd

Costs = Mapping[int, int]
"""Nano-USD of calls by their numbers."""


class Seen(msgspec.Struct):
    """What was seen.

    Attributes:
        looks: How often the authority was looked at.
        unanswered: How often it was not there.
        worst_nanousd: The most by which `posted + held + unresolved` passed a limit; never above 0.
        worst_bill_nanousd: The most by which the provider's bill passed it; never above 0.
        server_looks: How often a server said what it counts.
        put_aside: The most files in which events waited for a disk that was full.
        too_many: The most calls that a server had beyond those that the providers had seen.
    """

    looks: int = 0
    unanswered: int = 0
    worst_nanousd: int = -(10**18)
    worst_bill_nanousd: int = -(10**18)
    server_looks: int = 0
    put_aside: int = 0
    too_many: int = -(10**9)


class Finding(msgspec.Struct, frozen=True):
    """Something that must hold, whether it does, and the figures that say so."""

    claim: str
    holds: bool
    figures: str


class Told(msgspec.Struct, kw_only=True):
    """What everybody says of the calls of one customer.

    Attributes:
        customer: Its name.
        billed: What the provider billed.
        stored: What the hosts' events say.
        at_servers: What each server says: calls and nano-USD by step.
        killed: The numbers of the workers that were killed in their work.
        threads: How many calls each of them may have had in flight.
        failed: What went wrong in calls that no budget refused.
    """

    customer: str
    billed: Costs
    stored: Costs
    at_servers: Sequence[Mapping[str, tuple[int, int]]]
    killed: frozenset[int]
    threads: int
    failed: Sequence[str]

    @property
    def lost(self) -> Costs:
        """What the provider billed and no event says."""
        return {number: cost for number, cost in self.billed.items() if number not in self.stored}


def of_calls(told: Told) -> list[Finding]:
    """Judge the calls of one customer, one by one."""
    whose, lost = told.customer, told.lost
    wrong = [n for n, cost in told.stored.items() if told.billed.get(n) != cost]
    expected = {str(number): (1, cost) for number, cost in told.stored.items()}
    in_flight = [number // NUMBERS_OF_A_WORKER for number in lost]
    odd = [text for text in told.failed if not text.startswith("GateUnavailableError")]
    return [
        Finding(
            f"{whose}: a call that returned has its event, at what the provider billed",
            not wrong and bool(told.stored),
            f"{len(told.stored)} events of {len(told.billed)} calls, {len(wrong)} differ",
        ),
        Finding(
            f"{whose}: each server has each event once, to the nano-dollar",
            all(rows == expected for rows in told.at_servers),
            ", ".join(_sum(list(rows.values())) for rows in told.at_servers),
        ),
        Finding(
            f"{whose}: a call without an event was in flight in a worker that was killed",
            set(in_flight) <= told.killed
            and all(in_flight.count(one) <= told.threads for one in set(in_flight)),
            f"{len(lost)} calls of {len(told.killed)} killed workers, {_usd(sum(lost.values()))}",
        ),
        Finding(
            f"{whose}: no call broke",
            not odd,
            f"{len(told.failed)} were refused as no budget could be asked"
            + "".join(f"; {text}" for text in odd[:3]),
        ),
    ]


def of_budget(balance: Balance, told: Sequence[Told]) -> list[Finding]:
    """Judge how one account stands in the end, once the leases of killed workers are over.

    Args:
        balance: The account.
        told: The customers whose calls are in it.
    """
    name, limit = balance.account.budget_id, balance.account.limit
    stored = sum(sum(one.stored.values()) for one in told)
    lost = sum(sum(one.lost.values()) for one in told)
    billed = sum(sum(one.billed.values()) for one in told)
    return [
        Finding(
            f"budget {name}: what is posted is what the events say, and nothing is held",
            (balance.posted, balance.held) == (stored, 0),
            f"{_usd(balance.posted)} posted, {_usd(stored)} in events, {_usd(balance.held)} held",
        ),
        Finding(
            f"budget {name}: what killed calls cost is in what is unresolved",
            lost <= balance.unresolved,
            f"{_usd(lost)} of {_usd(balance.unresolved)}",
        ),
        Finding(
            f"budget {name}: neither it nor the provider's bill passes the limit",
            balance.posted + balance.held + balance.unresolved <= limit and billed <= limit,
            f"{_usd(balance.posted + balance.unresolved)} counted, {_usd(billed)} billed,"
            f" limit {_usd(limit)}",
        ),
    ]


def of_the_last_call(balance: Balance, refused: int, bound: int) -> Finding:
    """Judge that a budget was used up: its limit was met, and not one call early."""
    counted = balance.posted + balance.held + balance.unresolved
    left = balance.account.limit - counted
    return Finding(
        f"budget {balance.account.budget_id}: it was used up to the last call that fits",
        refused > 0 and left < bound,
        f"{refused} calls refused, {_usd(left)} left, a call is bound by {_usd(bound)}",
    )


def of_watching(seen: Seen) -> list[Finding]:
    """Judge what was seen in the run."""
    return [
        Finding(
            "at each moment: posted + held + unresolved <= limit, and the bill is within it",
            seen.looks > 0 and max(seen.worst_nanousd, seen.worst_bill_nanousd) <= 0,
            f"{seen.looks} looks, nearest {_usd(-seen.worst_nanousd)} below;"
            f" {seen.unanswered} unanswered",
        ),
        Finding(
            "at each moment: no server counts more calls than the providers have seen",
            seen.server_looks > 0 and seen.too_many <= 0,
            f"{seen.server_looks} looks",
        ),
    ]


def _sum(rows: Sequence[tuple[int, int]]) -> str:
    return f"{sum(calls for calls, _ in rows)} calls, {_usd(sum(cost for _, cost in rows))}"


def _usd(nanousd: int) -> str:
    return f"{format_usd(nanousd)} USD"
