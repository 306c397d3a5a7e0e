"""Ten thousand events and more: none is dropped, and no fraction of their money is lost."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, charge, event, new_id
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.usage import UsageEvent, encode_event


@pytest.mark.parametrize("number", [10_500, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_no_event_of_many_is_dropped_and_sums_are_exact(tmp_path: Path, number: int) -> None:
    chance = random.Random(7)
    costs = [chance.choice((1, 450_000, 100_000, chance.randrange(10**9))) for _ in range(number)]
    ids = [new_id() for _ in costs]
    where = account(limit=10**18)
    ledger = SQLiteLedger(tmp_path)
    for call_id, cost in zip(ids, costs, strict=True):
        ledger.post(event(call_id, charge(where, posted=cost)), None)
    ledger.close()
    reader = LedgerReader(tmp_path / LEDGER_FILE)
    (balance,) = reader.balances()
    assert balance.posted == sum(costs)
    (row,) = reader.report(("model",))
    assert (row.calls, row.cost_nanousd) == (number, sum(costs))
    for stored, call_id, cost in zip(reader.events(), ids, costs, strict=True):
        assert isinstance(stored, UsageEvent)
        assert (stored.call.id, stored.cost.amount_nanousd) == (call_id, cost)
    with contextlib.closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as connection:
        kinds = connection.execute("SELECT DISTINCT typeof(posted) FROM accounts").fetchall()
    assert kinds == [("integer",)]


def test_no_money_is_a_binary_float_in_what_is_written() -> None:
    floats: list[str] = []
    written = encode_event(event(new_id(), charge(account(), posted=450_000)))
    json.loads(written, parse_float=floats.append)
    assert floats == []
    assert b"450000" in written
