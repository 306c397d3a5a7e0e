"""When other processes often have the file, a process is told, once, and decides from leases."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, hold, settled
from tollspan.budget import LeasedLedger
from tollspan.ledger import LEDGER_FILE, SQLiteLedger
from tollspan.usage import LedgerUnavailableError

pytestmark = pytest.mark.alone


@contextlib.contextmanager
def taken(home: Path) -> Iterator[None]:
    """Have the file, as another process would."""
    with contextlib.closing(sqlite3.connect(home / LEDGER_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_file_that_others_have_again_and_again_is_told_once(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path, wait_seconds=0.01)
    ledger.open()
    told: list[str] = []
    ledger.on_contention = lambda: told.append("contended")
    with taken(tmp_path):
        for times in range(6):
            with pytest.raises(LedgerUnavailableError):
                ledger.hold(hold((account(), 1)))
            # The ledger's own thread may find it taken meanwhile, too.
            assert len(told) <= min(times, 1)
    assert told == ["contended"]
    ledger.close()


def test_a_lease_decides_while_others_have_the_file(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path, wait_seconds=5)  # the ledger's own thread may have it too
    leased = LeasedLedger(ledger, ledger, ledger, holder=ledger.holder)
    where = account(limit=1_000_000)
    first = hold((where, 100))
    assert leased.hold(first) is None  # four calls' worth is granted
    with taken(tmp_path):
        assert leased.hold(hold((where, 100))) is None
        assert leased.hold_now(hold((where, 100))) is None
    (balance,) = ledger.balances([where])
    assert balance.held == 400
    leased.post(settled(first, 30), first)
    (balance,) = ledger.balances([where])
    assert (balance.posted, balance.held) == (30, 370)
    leased.close()
    (balance,) = ledger.balances([where])
    assert (balance.posted, balance.held) == (30, 200)  # two calls are still in flight
    ledger.close()


def test_a_lease_of_a_dead_process_is_unresolved_and_its_late_events_go_out_of_it(
    tmp_path: Path,
) -> None:
    dying, living = SQLiteLedger(tmp_path), SQLiteLedger(tmp_path)
    leased = LeasedLedger(dying, dying, dying, holder=dying.holder)
    where = account(limit=1_000_000)
    held = hold((where, 100))
    leased.hold(held)
    late = leased._escrow.named(settled(held, 60))
    dying.close()
    living.sweep()  # unless its own thread was quicker
    (balance,) = living.balances([where])
    assert (balance.posted, balance.held, balance.unresolved) == (0, 0, 400)
    living.post(late, None)
    (balance,) = living.balances([where])
    assert (balance.posted, balance.held, balance.unresolved) == (60, 0, 340)
    living.close()


def test_what_the_own_lease_has_left_is_free_for_this_process(tmp_path: Path) -> None:
    ledger, other = SQLiteLedger(tmp_path), SQLiteLedger(tmp_path)
    leased = LeasedLedger(ledger, ledger, ledger, holder=ledger.holder)
    where = account(limit=1_000_000)
    assert leased.hold(hold((where, 100))) is None  # and 300 are left
    assert leased.balances([where])[0].held == 100
    assert other.balances([where])[0].held == 400
    refusal = leased.hold(hold((where, 999_901)))
    assert refusal is not None
    assert (refusal.balances[0].held, refusal.asked) == (100, (999_901,))
    assert leased.hold(hold((where, 999_900))) is None
    leased.close()
    for each in (ledger, other):
        each.close()
