"""A ledger that is made anew from its events knows which periods ran, and ends none early."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec

from tests.contract.idle import BEGAN_US, IDLE_SECONDS, account, touch
from tests.contract.idle.kits import SQLiteIdle
from tests.contract.ledger.making import charge, event, new_id
from tollspan.budget import idle_key
from tollspan.ledger import LEDGER_FILE, rebuild

FIRST = idle_key(IDLE_SECONDS, BEGAN_US + 1)
SECOND = idle_key(IDLE_SECONDS, BEGAN_US + 2)


def test_a_rebuilt_ledger_goes_on_with_the_periods_that_run(tmp_path: Path) -> None:
    kit = SQLiteIdle(tmp_path)
    kit.touch(touch(1))
    kit.advance(60)
    kit.close()
    rebuild(tmp_path / LEDGER_FILE)
    assert kit.touch(touch(2)) == FIRST
    kit.advance(IDLE_SECONDS * 1.1)
    assert kit.touch(touch(2)) == SECOND
    kit.close()


def test_periods_that_only_events_tell_of_count_as_active_now(tmp_path: Path) -> None:
    kit = SQLiteIdle(tmp_path)
    for key in (SECOND, FIRST):
        kit.sqlite.post(event(new_id(), charge(account(key), posted=5)), None)
    kit.close()
    rebuild(tmp_path / LEDGER_FILE)
    assert kit.touch(touch(1)) == SECOND
    kit.advance(IDLE_SECONDS * 1.1)
    assert kit.touch(touch(3)) == idle_key(IDLE_SECONDS, BEGAN_US + 3)
    kit.close()


def test_a_session_that_runs_keeps_what_it_spent_though_its_account_is_lost(tmp_path: Path) -> None:
    """It was only refused for longer than accounts are kept, so its event is old."""
    kit = SQLiteIdle(tmp_path)
    kit.touch(touch(1))
    old = new_id()
    called = event(old, charge(account(FIRST), posted=5))
    then = time.time_ns() - 100 * 86_400 * 1_000_000_000
    call = msgspec.structs.replace(called.call, started_at_unix_ns=then)
    kit.sqlite.post(msgspec.structs.replace(called, call=call), None)
    kit.close()
    with sqlite3.connect(tmp_path / LEDGER_FILE) as connection:
        connection.execute("DELETE FROM accounts")
    rebuild(tmp_path / LEDGER_FILE)
    (balance,) = kit.sqlite.balances([account(FIRST)])
    assert balance.posted == 5
    kit.close()
