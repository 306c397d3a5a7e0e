"""`tollspan focus`, `reconcile` and `meter` over the books of an ingest server."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.cli.books import call, used
from tests.integration.cli.conftest import Run
from tollspan.ledger.central import CentralLedger

BILL = """\
start_time_iso,amount_value,amount_currency,line_item
2026-11-22T00:00:00+00:00,0.00001,usd,"gpt-4o-mini-2024-07-18, input"
"""


@pytest.fixture
def where(home: Path) -> str:
    """Books with calls of two days."""
    place = f"sqlite:{home / 'server.db'}"
    ledger = CentralLedger(place)
    ledger.tenants.create("default", actor="test")
    calls = [used(call(n, customer="acme"), nanousd=1_000 + n) for n in range(20)]
    ledger.events.store("default", calls)
    ledger.close()
    return place


def test_rows_add_up_to_what_the_server_has(where: str, run: Run) -> None:
    code, output, _ = run("focus", "--db", where, "--by", "call")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(output, newline="")))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("0.00002019")


def test_a_bill_is_compared_with_the_servers_sums(where: str, run: Run, tmp_path: Path) -> None:
    bill = tmp_path / "costs.csv"
    bill.write_text(BILL)
    code, output, _ = run("reconcile", "--export", "openai", str(bill), "--db", where, "--json")
    (row,) = json.loads(output)
    assert (code, row["calls"], row["counted_nanousd"]) == (0, 12, str(12_066))
    assert row["difference_usd"] == "-0.000002066"


def test_calls_of_a_server_are_metered(where: str, run: Run) -> None:
    assert len(run("meter", "--shape", "lago", "--db", where)[1].splitlines()) == 20


def test_a_tenant_that_is_not_there_is_named(where: str, run: Run) -> None:
    code, _, said = run("focus", "--db", where, "--tenant", "nobody")
    assert code == 1
    assert "there is no tenant 'nobody'" in said
