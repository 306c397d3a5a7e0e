"""An allowance for outages: calls go on while the ledger can't be used, no further than it goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests import harness
from tests.e2e.disks import full_disk, locked
from tests.e2e.outages import call, events_in, installed, marks
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.api import GateUnavailableError
from tollspan.budget import Balance, is_allowance
from tollspan.launch import Installed
from tollspan.ledger import LEDGER_FILE, LedgerReader, rescued_files
from tollspan.usage import LedgerError

pytestmark = pytest.mark.usefixtures("spare_place")
LIMIT_USD = "0.02"
# Half of the limit; the first slice is for one call at least, of some 0.17 thousandths of a USD.
RULE = "{allow_up_to: 50%}"
CALLS = 60


def of_allowance(home: Path) -> Balance | None:
    """Return how the allowance stands; None while there is none."""
    with contextlib.suppress(LedgerError):
        for one in LedgerReader(home / LEDGER_FILE).balances():
            if is_allowance(one.account.period):
                return one
    return None


def has_a_slice(home: Path) -> bool:
    """Say whether some process holds a slice."""
    balance = of_allowance(home)
    return balance is not None and balance.held > 0


def try_calls(fake: FakeOpenAI, number: int) -> int:
    """Make calls until as many were tried; return how many were let through."""
    allowed = 0
    for _ in range(number):
        with contextlib.suppress(GateUnavailableError):
            call(fake)
            allowed += 1
    return allowed


def see_the_allowance_hold(home: Path, fake: FakeOpenAI, *, calls: int) -> None:
    """See that every event came back, and what was spent unasked is in the allowance."""
    wait_until(lambda: events_in(home) == calls)
    wait_until(lambda: rescued_files(home) == ())
    events = harness.usage_events(home)
    unasked = [one for one in events if marks(one)]
    assert all(one.lease_id for one in unasked)
    spent = sum(one.cost.amount_nanousd or 0 for one in unasked)
    balance = of_allowance(home)
    assert balance is not None
    assert balance.posted == spent
    assert balance.counted <= balance.account.limit
    assert harness.balance(home).posted == fake.billed_nanousd - spent


def see_it_given_back(home: Path) -> None:
    """See that a process that has ended holds nothing any more."""
    balance = of_allowance(home)
    assert balance is not None
    assert (balance.held, balance.unresolved) == (0, 0)


def test_on_a_full_disk_calls_go_on_until_the_slice_is_used_up(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    with installed(home, rule=RULE, limit=LIMIT_USD):
        call(fake)
        wait_until(lambda: has_a_slice(home))
        held = of_allowance(home)
        assert held is not None
        with full_disk((home / f"{LEDGER_FILE}-wal").stat().st_size):
            allowed = try_calls(fake, CALLS)
        assert 0 < allowed < CALLS
        assert fake.hits == 1 + allowed
        see_the_allowance_hold(home, fake, calls=1 + allowed)
        unasked = of_allowance(home)
        assert unasked is not None
        assert unasked.posted <= held.held
    see_it_given_back(home)


def test_without_a_slice_a_full_disk_lets_nothing_through(tmp_path: Path, fake: FakeOpenAI) -> None:
    home = tmp_path / "home"
    home.write_text("a file is in the way")
    with installed(home, rule=RULE, limit=LIMIT_USD):
        assert try_calls(fake, 3) == 0
        home.unlink()
        wait_until(lambda: try_calls(fake, 1) == 1)
        wait_until(lambda: has_a_slice(home))


def test_an_event_loop_does_not_stand_still_while_calls_go_on_from_a_slice(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"

    async def run() -> float:
        worst = 0.0
        async with AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
            with locked(home):
                task = asyncio.ensure_future(
                    client.chat.completions.create(
                        model="gpt-4o-mini",
                        messages=[{"role": "user", "content": "hi"}],
                        max_tokens=20,
                    )
                )
                while not task.done():
                    due = time.monotonic() + 0.005
                    await asyncio.sleep(0.005)
                    worst = max(worst, time.monotonic() - due)
                await task
        return worst

    with installed(home, rule=RULE, limit=LIMIT_USD):
        call(fake)
        wait_until(lambda: has_a_slice(home))
        assert asyncio.run(run()) < 0.2
        see_the_allowance_hold(home, fake, calls=2)
    see_it_given_back(home)


def test_rules_that_allow_less_are_gone_by_at_once(tmp_path: Path, fake: FakeOpenAI) -> None:
    home = tmp_path / "home"

    def change(running: Installed, rule: str) -> None:
        document = home.parent / "rules.yaml"
        document.write_text(document.read_text().replace(RULE, rule))
        running.watcher.look()

    with installed(home, rule=RULE, limit=LIMIT_USD) as running:
        call(fake)
        wait_until(lambda: has_a_slice(home))
        change(running, "deny")
        with locked(home):
            assert try_calls(fake, 1) == 0
