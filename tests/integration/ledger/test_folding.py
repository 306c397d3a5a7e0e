"""The SQLite ledger folds by itself; crashes and rebuilds lose no sum, and bring nothing back."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.contract.folding.kits import DAY_NS, run, run_daily
from tests.contract.ledger.making import charge, event, hold, new_id, settled
from tollspan.budget import FOLDED, Account, Hold
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild

OVER_UNIX_NS = 1_704_110_400_000_000_000  # 2024-01-01T12:00:00Z
PERIODS = ("2023-01", "2023-01-05", "60s/00167294880", "2023-01-05T08", "")
LIVED = (*PERIODS, "idle:60s/1672876800000000")

OWNERS = st.integers(0, 3)


def account(owner: int, period: str) -> Account:
    return Account(budget_id="b", scope=f'{{"session":"{owner}"}}', period=period, limit=1 << 40)


def open_ledger(home: Path) -> SQLiteLedger:
    return SQLiteLedger(home, wait_seconds=10, fold_after_seconds=None)


def standing(home: Path) -> dict[tuple[str, str], int]:
    """Return what is posted by budget and month, year or lifetime, whoever's it is."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for one in LedgerReader(home / LEDGER_FILE).balances():
        period = one.account.period
        if period in ("60s/00167294880", "2023-01-05T08"):
            period = f"2023-01 {'hours' if 'T' in period else 'rolling'}"
        sums[one.account.budget_id, period] += one.posted
    return {name: posted for name, posted in sums.items() if posted}


def count(home: Path) -> int:
    return len(LedgerReader(home / LEDGER_FILE).balances())


def fill(ledger: SQLiteLedger, accounts: int) -> None:
    rng = random.Random(accounts)
    for number in range(accounts):
        one = account(number, PERIODS[number % 4])
        ledger.post(event(new_id(), charge(one, posted=rng.randrange(1, 1_000))), None)
    ledger.post(event(new_id(), charge(account(0, ""), posted=1)), None)


def test_a_rebuild_brings_no_folded_account_back_and_loses_no_sum(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    fill(ledger, 400)
    before = standing(tmp_path)
    run_daily(ledger, OVER_UNIX_NS, 40)
    assert count(tmp_path) == 5
    in_flight = hold((account(500, "2023-01"), 3))
    assert ledger.hold(in_flight) is None
    ledger.close()
    rebuild(tmp_path / LEDGER_FILE)
    assert standing(tmp_path) == before
    assert count(tmp_path) == 6
    ledger.post(settled(in_flight, 2), in_flight)
    ledger.close()
    assert standing(tmp_path) == {**before, ("b", "2023-01"): before["b", "2023-01"] + 2}


def test_a_ledger_that_is_carried_over_keeps_what_was_folded(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    fill(ledger, 40)
    before = standing(tmp_path)
    run_daily(ledger, OVER_UNIX_NS, 40)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{LEDGER_FILE}{suffix}").unlink(missing_ok=True)
    ledger.close()
    ledger.open()
    ledger.close()
    assert standing(tmp_path) == before
    assert count(tmp_path) == 5


def test_a_rebuild_without_its_accounts_folds_only_what_is_closed(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    fill(ledger, 40)
    month = time.strftime("%Y-%m", time.gmtime())
    ledger.post(event(new_id(), charge(account(1, month), posted=77)), None)
    before = standing(tmp_path)
    ledger.close()
    with sqlite3.connect(tmp_path / LEDGER_FILE) as connection:
        connection.execute("DELETE FROM accounts")
    rebuild(tmp_path / LEDGER_FILE)
    assert standing(tmp_path) == before
    (now,) = LedgerReader(tmp_path / LEDGER_FILE).balances_at([account(1, month)])
    assert now.posted == 77


_FOLDS = """
import sys
from pathlib import Path
from tests.contract.folding.kits import DAY_NS, run
from tests.integration.ledger.test_folding import OVER_UNIX_NS, open_ledger

ledger = open_ledger(Path(sys.argv[1]))
print("begins", flush=True)
for day in range(1000):
    run(ledger, OVER_UNIX_NS + (day + int(sys.argv[2])) * DAY_NS, most=7)
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_process_that_is_killed_while_it_folds_loses_and_doubles_nothing(
    tmp_path: Path, seed: int
) -> None:
    ledger = open_ledger(tmp_path)
    fill(ledger, 400)
    before = standing(tmp_path)
    run_daily(ledger, OVER_UNIX_NS, 36)
    ledger.close()
    rng = random.Random(seed)
    for life in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", _FOLDS, str(tmp_path), str(36 + life)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begins\n"
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        assert standing(tmp_path) == before
    run(ledger, OVER_UNIX_NS + 60 * DAY_NS)
    run_daily(ledger, OVER_UNIX_NS + 60 * DAY_NS, 40)
    ledger.close()
    assert standing(tmp_path) == before
    assert count(tmp_path) == 5


class Lives(RuleBasedStateMachine):
    """Postings, holds, late events, foldings and rebuilds in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.home = Path(self.folder.name)
        self.ledger = open_ledger(self.home)
        self.ledger.open()
        self.posted: dict[str, int] = defaultdict(int)
        self.unresolved: dict[Account, int] = defaultdict(int)
        self.held: dict[Account, int] = defaultdict(int)
        self.open: list[Hold] = []
        self.day = 0

    @rule(owner=OWNERS, period=st.sampled_from(LIVED), amount=st.integers(-3, 9))
    def post(self, owner: int, period: str, amount: int) -> None:
        self.ledger.post(event(new_id(), charge(account(owner, period), posted=amount)), None)
        self.posted[_sum(period)] += amount

    @rule(owner=OWNERS, period=st.sampled_from(LIVED), amount=st.integers(1, 9))
    def leave_unresolved(self, owner: int, period: str, amount: int) -> None:
        one = account(owner, period)
        self.ledger.post(event(new_id(), charge(one, posted=0, unresolved=amount)), None)
        self.unresolved[one] += amount

    @rule(owner=OWNERS, period=st.sampled_from(LIVED), amount=st.integers(0, 9))
    def hold(self, owner: int, period: str, amount: int) -> None:
        asked = hold((account(owner, period), amount))
        assert self.ledger.hold(asked) is None
        self.open.append(asked)
        self.held[asked.legs[0][0]] += amount

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), amount=st.integers(0, 9))
    def settle(self, which: int, amount: int) -> None:
        asked = self.open.pop(which % len(self.open))
        ((one, was_held),) = asked.legs
        self.ledger.post(settled(asked, amount), asked)
        self.held[one] -= was_held
        self.posted[_sum(one.period)] += amount

    @rule(days=st.sampled_from([1, 3, 40]))
    def fold(self, days: int) -> None:
        run_daily(self.ledger, OVER_UNIX_NS + self.day * DAY_NS, days)
        self.day += days

    @rule()
    def rebuild(self) -> None:
        self.ledger.close()
        rebuild(self.home / LEDGER_FILE)

    @invariant()
    def every_sum_is_kept(self) -> None:
        found: dict[str, int] = defaultdict(int)
        for balance in LedgerReader(self.home / LEDGER_FILE).balances():
            found[_sum(balance.account.period)] += balance.posted
            if balance.account.scope == FOLDED:
                assert (balance.held, balance.unresolved) == (0, 0)
        for name in {*found, *self.posted}:
            assert found[name] == self.posted[name], name

    @invariant()
    def what_is_open_stays_where_it_is(self) -> None:
        asked = [*{**self.held, **self.unresolved}]
        for one, balance in zip(asked, self.ledger.balances(asked), strict=True):
            assert (balance.held, balance.unresolved) == (self.held[one], self.unresolved[one])

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def _sum(period: str) -> str:
    if period.startswith("60s/"):
        return "2023-01 rolling"
    if period.startswith("idle:"):
        return "2023-01 idle"
    return "2023-01 hours" if "T" in period else period


def test_the_ledger_folds_while_it_is_used(tmp_path: Path) -> None:
    """Its own thread does; the clock that counts runs is moved on in the file itself."""
    ledger = SQLiteLedger(tmp_path, wait_seconds=10)
    fill(ledger, 40)
    give_up_at = time.monotonic() + 60
    while count(tmp_path) > 11 and time.monotonic() < give_up_at:
        with sqlite3.connect(tmp_path / LEDGER_FILE, timeout=10) as connection:
            connection.execute(
                "UPDATE folding SET state = json_set(state, '$.hour', json_extract(state,"
                " '$.hour') - 24) WHERE state <> ''"
            )
        ledger.close()  # begins its housekeeping's life anew
        ledger.post(event(new_id(), charge(account(0, ""), posted=1)), None)
        time.sleep(0.2)
    ledger.close()
    assert count(tmp_path) <= 11
