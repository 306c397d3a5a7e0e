"""`tollspan reprice`: what it prints, and that a run which is killed is finished by the next."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.integration.cli.conftest import Run
from tollspan.ledger.central import CentralLedger, UsageQuery, UsageSums
from tollspan.usage import Cost, Usage, UsageEvent

TOKENS, OLD, NEW = 1_000, 150_000, 2_000_000  # nano-USD a call
PRICES = "version: 1\nmodels:\n  openai/gpt-4o-mini: {usd_per_million: {input: 2}}\n"


@pytest.fixture
def server(home: Path) -> Path:
    """The books of a server that has no events, where its commands look for them."""
    path = home / "server.db"
    with_tenant = CentralLedger(f"sqlite:{path}")
    with_tenant.tenants.create("acme", actor="test")
    with_tenant.close()
    (home / "other.yaml").write_text(PRICES)
    return path


def calls(count: int) -> list[UsageEvent]:
    usage, cost = Usage(input_uncached=TOKENS), Cost(status="priced", amount_nanousd=OLD)
    return [msgspec.structs.replace(usage_event(), usage=usage, cost=cost) for _ in range(count)]


def store(path: Path, count: int) -> None:
    ledger = CentralLedger(f"sqlite:{path}")
    ledger.events.store("acme", calls(count))
    ledger.close()


def sums(path: Path) -> UsageSums:
    ledger = CentralLedger(f"sqlite:{path}")
    try:
        return sums_of(ledger)
    finally:
        ledger.close()


def sums_of(ledger: CentralLedger) -> UsageSums:
    by_rollup, by_event = (
        [row.sums for row in ledger.usage.usage("acme", UsageQuery(group_by=group)).rows]
        for group in (("model",), ("session",))
    )
    assert by_rollup == by_event
    return by_rollup[0]


def spent(ledger: CentralLedger) -> int:
    return ledger.usage.usage("acme", UsageQuery()).rows[0].sums.cost_nanousd


def test_a_dry_run_shows_differences_by_day_and_model(home: Path, server: Path, run: Run) -> None:
    store(server, 3)
    code, out, _ = run("reprice", "--since", "1d", "--book", str(home / "other.yaml"), "--dry-run")
    assert code == 0
    assert "gpt-4o-mini" in out
    assert "0.005550" in out  # more: three times 0.00185 USD
    assert "dry run" in out
    assert sums(server).cost_nanousd == 3 * OLD


def test_json_says_the_same_with_money_as_strings(home: Path, server: Path, run: Run) -> None:
    store(server, 3)
    _, out, _ = run("reprice", "--since", "1d", "--book", str(home / "other.yaml"), "--json")
    found = json.loads(out)
    assert (found["calls"], found["difference_nanousd"]) == (3, str(3 * (NEW - OLD)))
    (row,) = found["rows"]
    assert (row["tenant"], row["cost_nanousd"]) == ("acme", str(3 * NEW))
    assert sums(server).cost_nanousd == 3 * NEW


def test_an_export_has_the_corrected_rows(home: Path, server: Path, run: Run) -> None:
    store(server, 3)
    run("reprice", "--since", "1d", "--book", str(home / "other.yaml"))
    _, out, _ = run("focus", "--db", f"sqlite:{server}", "--tenant", "acme", "--since", "1d")
    rows = list(csv.DictReader(out.splitlines()))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(3 * NEW).scaleb(-9)
    assert {row["ChargeClass"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("--book", "nowhere.json"), "nowhere.json"),
        (("--book", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_can_not_be_meant_is_said(
    server: Path, run: Run, more: tuple[str, ...], text: str
) -> None:
    code, _, err = run("reprice", "--since", "1d", "--db", f"sqlite:{server}", *more)
    assert code == 1
    assert text in err


def test_a_run_that_is_killed_is_finished_by_the_next(home: Path, server: Path) -> None:
    count = 4_000
    store(server, count)
    command = [
        sys.executable, "-m", "tollspan.cli", "reprice", "--since", "1d", "--json",
        "--book", str(home / "other.yaml"),
    ]  # fmt: skip
    environment = {**os.environ, "TOLLSPAN_HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        ledger = CentralLedger(f"sqlite:{server}")
        deadline = time.monotonic() + 30
        while spent(ledger) == count * OLD and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        ledger.close()
    half = sums(server)
    assert half.calls == count
    done = (half.cost_nanousd - count * OLD) // (NEW - OLD)
    assert 0 < done < count
    said = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    assert json.loads(said.stdout)["calls"] == count - done
    assert (sums(server).calls, sums(server).cost_nanousd) == (count, count * NEW)
