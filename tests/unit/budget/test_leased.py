"""Leases and threads: what a caller's thread does, and what the end of a process waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from tests.contract.ledger.making import account, hold
from tollspan.budget import (
    GivenBack,
    Grant,
    Lease,
    LeasedLedger,
    LeaseSettings,
    MemoryLedger,
    Refusal,
    Want,
)

WIDE = account("wide", limit=100_000)


class SlowLessor(MemoryLedger):
    """An authority at which giving back takes as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.is_there = threading.Event()
        self.threads: list[int] = []

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        self.threads.append(threading.get_ident())
        self.is_there.set()
        assert self.go_on.wait(10)
        return super().give_back(lease, parts)


def leased(lessor: MemoryLedger, settings: LeaseSettings) -> LeasedLedger:
    """Decide from leases of an authority."""
    return LeasedLedger(lessor, lessor, holder=lambda: "me", settings=settings)


def test_a_release_asks_the_authority_for_nothing_in_the_callers_thread() -> None:
    lessor = SlowLessor()
    ledger = leased(lessor, LeaseSettings(first=1, most=1, idle_seconds=0))
    wanted = hold((WIDE, 10))
    assert ledger.hold(wanted) is None
    ledger.release_soon(wanted.call_id)
    lessor.go_on.set()
    ledger.close()
    assert threading.get_ident() != lessor.threads[0]
    assert lessor.balance(WIDE).held == 0


def test_at_its_end_a_process_gives_back_what_was_used_while_another_thread_gave_back() -> None:
    lessor = SlowLessor()
    ledger = leased(lessor, LeaseSettings(idle_seconds=0))
    first, second = hold((WIDE, 10)), hold((account("other"), 5))
    assert ledger.hold(first) is None
    ledger.release_soon(first.call_id)
    assert ledger.hold(second) is None
    ticking = threading.Thread(target=ledger.tick)
    ticking.start()
    assert lessor.is_there.wait(10)
    ledger.release_soon(second.call_id)
    threading.Timer(0.1, lessor.go_on.set).start()
    ledger.close()
    ticking.join()
    assert lessor.balance(WIDE).held == lessor.balance(account("other")).held == 0


def test_where_each_call_is_granted_by_itself_threads_take_turns() -> None:
    lessor = PacedLessor()
    ledger = leased(lessor, LeaseSettings(first=1, most=1))
    made = [0, 0, 0, 0]
    is_over = threading.Event()

    def call_in_a_loop(number: int) -> None:
        while not is_over.is_set():
            wanted = hold((WIDE, 1))
            assert ledger.hold(wanted) is None
            made[number] += 1
            ledger.release_soon(wanted.call_id)

    threads = [threading.Thread(target=call_in_a_loop, args=(one,)) for one in range(len(made))]
    for thread in threads:
        thread.start()
    lessor.has_answered.acquire(timeout=20)
    is_over.set()
    for thread in threads:
        thread.join()
    ledger.close()
    assert max(made) - min(made) <= 5, made


class PacedLessor(MemoryLedger):
    """An authority a round trip away, that says when it has answered two hundred times."""

    def __init__(self) -> None:
        super().__init__()
        self.has_answered = threading.Semaphore(0)
        self._answers = 0

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        time.sleep(0.001)
        self._answers += 1
        if self._answers == 200:
            self.has_answered.release()
        return super().grant(lease, wants)
