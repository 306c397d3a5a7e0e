"""Calls of one process that wait for each other's questions to the authority."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.waiting import wait_until
from tollspan.budget import (
    BUSY,
    Account,
    Balance,
    Busy,
    GivenBack,
    Grant,
    Hold,
    Lease,
    LeasedLedger,
    LeaseSettings,
    MemoryLedger,
    Refusal,
    Touch,
    Want,
)
from tollspan.usage import LedgerUnavailableError

HERE = Account(budget_id="here", scope="", period="", limit=1_000_000)
THERE = Account(budget_id="there", scope="", period="", limit=1_000_000)


class Held:
    """A lessor whose answers a test lets out, one by one; before, all questions are held up."""

    def __init__(self) -> None:
        self.memory = MemoryLedger()
        self.asked: list[Future[LedgerUnavailableError | None]] = []

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        answer: Future[LedgerUnavailableError | None] = Future()
        self.asked.append(answer)
        failure = answer.result(30)
        if failure is not None:
            raise failure
        return self.memory.grant(lease, wants)

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Busy:
        return BUSY

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        return self.memory.give_back(lease, parts)

    def touch(self, touch: Touch) -> str:
        return self.memory.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        return self.memory.balances(accounts)

    def await_question(self, number: int) -> Future[LedgerUnavailableError | None]:
        wait_until(lambda: len(self.asked) >= number)
        return self.asked[number - 1]


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def leased(held: Held) -> LeasedLedger:
    settings = LeaseSettings(wait_seconds=20, renew_share=0)
    return LeasedLedger(held, held.memory, holder=lambda: "one", settings=settings)


def hold_of(name: str, account: Account, amount: int) -> Hold:
    return Hold(call_id=name, started_at_unix_ns=0, legs=((account, amount),))


def waits(leased: LeasedLedger, count: int) -> None:
    """Wait until so many calls wait for another one's question."""
    wait_until(lambda: len(leased._waiters) == count)


def test_a_question_that_fails_fails_for_all_who_waited_for_it(
    held: Held, leased: LeasedLedger
) -> None:
    """One after another they would ask, and wait, for many times as long as a call may."""
    with ThreadPoolExecutor() as pool:
        first = pool.submit(leased.hold, hold_of("0", HERE, 10))
        failing = held.await_question(1)
        others = [pool.submit(leased.hold, hold_of(f"{n}", HERE, 10)) for n in range(1, 5)]
        elsewhere = pool.submit(leased.hold, hold_of("5", THERE, 10))
        answering = held.await_question(2)
        waits(leased, 4)
        failing.set_result(LedgerUnavailableError("no answer within 0.25 s"))
        for one in (first, *others):
            with pytest.raises(LedgerUnavailableError, match=r"no answer within 0\.25 s"):
                one.result(10)
        answering.set_result(None)
        assert elsewhere.result(10) is None
    assert len(held.asked) == 2
    leased.close()
    assert held.memory.balances([HERE])[0].held == 0


def test_a_call_that_asks_by_itself_after_it_waited_is_not_served_twice(
    held: Held, leased: LeasedLedger
) -> None:
    with ThreadPoolExecutor() as pool:
        large = pool.submit(leased.hold, hold_of("large", HERE, 100))
        held.await_question(1).set_result(None)
        assert large.result(10) is None
        fill = [hold_of(f"fill-{n}", HERE, 100) for n in range(3)]  # the rest of what was granted
        assert [leased.hold(one) for one in fill] == [None] * 3
        small = pool.submit(leased.hold, hold_of("small", HERE, 1))
        asking = held.await_question(2)
        waiting = pool.submit(leased.hold, hold_of("waiting", HERE, 100))
        waits(leased, 1)
        asking.set_result(None)
        assert small.result(10) is None
        asking = held.await_question(3)  # of the call that waited
        leased.release_soon("large")
        elsewhere = pool.submit(leased.hold, hold_of("elsewhere", THERE, 10))
        held.await_question(4).set_result(None)
        assert elsewhere.result(10) is None
        asking.set_result(None)
        assert waiting.result(10) is None
    for name in ("fill-0", "fill-1", "fill-2", "small", "waiting", "elsewhere"):
        leased.release_soon(name)
    leased.close()
    assert [one.held for one in held.memory.balances([HERE, THERE])] == [0, 0]
