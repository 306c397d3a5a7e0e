"""`tollspan focus`, `reconcile` and `meter` over a ledger."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.cli.books import NOON_UNIX_NS, call, denied, used, write
from tests.integration.cli.conftest import Run
from tollspan.usage import Folded, UsageEvent

PARQUET: Any = import_module("pyarrow.parquet")  # without types
BILL = """\
start_time_iso,amount_value,amount_currency,line_item
2026-11-22T00:00:00+00:00,0.000003,usd,"gpt-4o-mini-2024-07-18, input"
2026-11-22T00:00:00+00:00,0.5,usd,"o3, output"
"""


@pytest.fixture
def calls(home: Path) -> list[UsageEvent]:
    """Two calls of acme, one of nobody that has no price, and a refusal."""
    made = [
        used(call(1, customer="acme"), nanousd=1_000),
        used(call(2, customer="acme"), nanousd=1_002),
        used(call(3, model="nobody-knows-it"), nanousd=None),
    ]
    write(home, *made, denied(call(4, customer="acme")))
    return made


def test_rows_of_a_day_add_up_to_the_ledgers_cost(calls: list[UsageEvent], run: Run) -> None:
    code, output, said = run("focus")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(output, newline="")))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("0.000002002")
    assert said == "8 rows written; of 4 the cost is not known\n"


def test_a_file_is_written_in_one_piece_and_says_who_pays(
    calls: list[UsageEvent], run: Run, tmp_path: Path
) -> None:
    place = tmp_path / "rows.parquet"
    options = ("--by", "call", "--account", "o-1", "--account-name", "Us", "--issuer", "Reseller")
    assert run("focus", "--format", "parquet", "--output", str(place), *options)[0] == 0
    rows = PARQUET.read_table(place).to_pylist()
    assert sum(row["BilledCost"] for row in rows) == Decimal("0.000002002")
    assert {row["BillingAccountId"] for row in rows} == {"o-1"}
    assert {(row["BillingAccountName"], row["InvoiceIssuerName"]) for row in rows} == {
        ("Us", "Reseller")
    }
    assert len({row["x_CallId"] for row in rows}) == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_can_not_be_written_is_named(calls: list[UsageEvent], run: Run) -> None:
    code, _, said = run("focus", "--output", "/nowhere/rows.csv")
    assert code == 1
    assert "/nowhere/rows.csv: can't be written" in said


def test_a_bill_is_compared_by_day_and_model(
    calls: list[UsageEvent], run: Run, tmp_path: Path
) -> None:
    bill = tmp_path / "costs.csv"
    bill.write_text(BILL)
    code, output, _ = run("reconcile", "--export", "openai", str(bill), "--json")
    assert code == 0
    found = {row["model"]: row for row in json.loads(output)}
    assert found["gpt-4o-mini"] == {
        "day": "2026-11-22", "model": "gpt-4o-mini", "billed_usd": "0.000003",
        "counted_nanousd": "2002", "difference_usd": "0.000000998",
        "calls": 2, "unpriced": 0, "estimated": 0,
    }  # fmt: skip
    assert found["o3"]["counted_nanousd"] is None
    assert found["nobody-knows-it"]["unpriced"] == 1
    table = run("reconcile", "--export", "openai", str(bill))[1]
    assert "not counted here" in table
    assert "1 call unpriced" in table
    assert "0.500000998" in table.splitlines()[-1]


def test_a_wrong_bill_is_named_with_its_line(home: Path, run: Run, tmp_path: Path) -> None:
    bill = tmp_path / "costs.csv"
    bill.write_text(BILL.replace("0.5", "half"))
    code, _, said = run("reconcile", "--export", "openai", str(bill))
    assert code == 1
    assert f"{bill}:3: amount_value is 'half'" in said


def test_calls_are_written_as_meters_take_them(calls: list[UsageEvent], run: Run) -> None:
    code, output, said = run("meter", "--shape", "stripe", "--customer", "acme=cus_1")
    assert code == 0
    found = [json.loads(line) for line in output.splitlines()]
    assert [one["payload"] for one in found] == [
        {"stripe_customer_id": "cus_1", "value": "1000"},
        {"stripe_customer_id": "cus_1", "value": "1002"},
    ]
    assert found[0]["timestamp"] == NOON_UNIX_NS // 10**9 + 3_600
    assert said == "1 call left out: of no customer, or with nothing known to count\n"


def test_totals_are_not_written_for_their_calls_may_have_been(home: Path, run: Run) -> None:
    total = msgspec.structs.replace(
        used(call(1, customer="acme")), folded=Folded(calls=5, seconds=60)
    )
    write(home, total)
    code, output, said = run("meter", "--shape", "openmeter")
    assert (code, output) == (0, "")
    assert said == "5 calls left out: folded into totals\n"


@pytest.mark.parametrize(
    ("shape", "lines"), [("openmeter", 2), ("openmeter-tokens", 8), ("lago", 2)]
)
def test_each_shape_has_its_events(
    calls: list[UsageEvent], run: Run, shape: str, lines: int
) -> None:
    output = run("meter", "--shape", shape)[1]
    assert len([json.loads(line) for line in output.splitlines()]) == lines
