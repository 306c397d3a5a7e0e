"""Central ledgers forget in pieces, by one process at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.contract.central.making import usage_event
from tollspan.ledger.central import AUTHORITY_OPENED, PRICES_CHANGED, CentralLedger
from tollspan.server.housekeeping import WORK, Housekeeper
from tollspan.server.settings import ServerSettings
from tollspan.usage import LedgerUnavailableError

DAY = 86_400


def names_left(ledger: CentralLedger) -> int:
    """Count names by forgetting them all."""
    return ledger.forget_names(time.time_ns() + 10**12, 10_000)


def keeper(ledger: CentralLedger, days: int = 35) -> Housekeeper:
    settings = ServerSettings(database=ledger.name, oldest_seconds=days * DAY)
    return Housekeeper(ledger, settings, every_seconds=0.02)


def test_work_is_claimed_by_one_and_by_another_when_the_claim_has_ended(where: str) -> None:
    now = 0
    ledger = CentralLedger(where, clock=lambda: now)
    claims = ledger.claims
    assert claims.take("w", "a", seconds=5)
    assert not claims.take("w", "b", seconds=5)
    assert claims.take("other", "b", seconds=5)
    now = 4 * 10**9
    assert claims.take("w", "a", seconds=5)
    now = 8 * 10**9
    assert not claims.take("w", "b", seconds=5)
    now = 9 * 10**9
    assert claims.take("w", "b", seconds=5)
    claims.release("w", "a")
    assert not claims.take("w", "c", seconds=5)
    claims.release("w", "b")
    assert claims.take("w", "c", seconds=5)
    ledger.close()


def test_of_many_that_claim_at_once_one_has_it(ledger: CentralLedger) -> None:
    starting = threading.Barrier(6)
    found: list[bool] = []

    def claim(name: str) -> None:
        starting.wait()
        found.append(ledger.claims.take("w", name, seconds=60))

    threads = [threading.Thread(target=claim, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 1


def test_names_are_forgotten_in_pieces(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [usage_event(age_seconds=900) for _ in range(5)])
    before = time.time_ns() - 60 * 10**9
    assert [ledger.forget_names(before, 2) for _ in range(4)] == [2, 2, 1, 0]


def test_what_may_be_sent_again_is_remembered(ledger: CentralLedger) -> None:
    ages = (0, 4.9 * DAY, 6.1 * DAY, 80 * DAY)
    ledger.events.store("acme", [usage_event(age_seconds=age) for age in ages])
    assert keeper(ledger, days=5).tidy()
    assert names_left(ledger) == 2


def test_a_replica_leaves_the_work_to_the_one_that_has_it(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [usage_event(age_seconds=80 * DAY)])
    assert ledger.claims.take(WORK, "another", seconds=60)
    assert not keeper(ledger).tidy()
    ledger.claims.release(WORK, "another")
    assert keeper(ledger).tidy()
    assert names_left(ledger) == 0


def test_a_thread_does_it_until_it_is_stopped_and_gives_its_claim_back(
    ledger: CentralLedger,
) -> None:
    works = keeper(ledger)
    works.start()
    ledger.events.store("acme", [usage_event(age_seconds=80 * DAY)])
    time.sleep(0.5)
    assert works.state() == "ok"
    works.stop()
    assert works.state() == "stopped"
    assert names_left(ledger) == 0
    assert ledger.claims.take(WORK, "another", seconds=1)


def said_by(works: Housekeeper, is_waited_for: Callable[[str], bool]) -> str:
    """Return its state, once that is what is waited for, or 30 seconds are over."""
    give_up_at = time.monotonic() + 30
    while not is_waited_for(works.state()) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return works.state()


def test_trouble_is_told_and_ends(
    ledger: CentralLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> int:
        raise LedgerUnavailableError("the disk is full")

    works = keeper(ledger)
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "forget_names", fails)
        works.start()
        assert said_by(works, lambda state: state != "ok").startswith("failing since 20")
    assert said_by(works, lambda state: state == "ok") == "ok"
    works.stop()
    assert "the disk is full" in caplog.text
    assert "works again" in caplog.text


@pytest.mark.parametrize(("months", "left"), [(None, 6), (24, 6), (2, 3), (1, 3)])
def test_the_audit_log_is_kept_as_long_as_is_said(
    where: str, months: int | None, left: int
) -> None:
    now = int(datetime(2027, 1, 15, tzinfo=UTC).timestamp()) * 10**9
    ledger = CentralLedger(where, clock=lambda: now)
    for action in ("key.created", AUTHORITY_OPENED, PRICES_CHANGED, "key.revoked", "rules.changed"):
        ledger.audit.note("acme", "t", action, "old")
    now = int(datetime(2027, 12, 20, tzinfo=UTC).timestamp()) * 10**9
    ledger.audit.note("acme", "t", "key.created", "new")
    now = int(datetime(2028, 1, 10, tzinfo=UTC).timestamp()) * 10**9
    said = ServerSettings(database=ledger.name, keep_months=None, keep_audit_months=months)
    assert Housekeeper(ledger, said, clock=lambda: now).tidy()
    found = [(one.action, one.subject) for one in ledger.audit.entries("acme")]
    assert len(found) == left
    assert found[-1] == ("key.created", "new")
    assert {AUTHORITY_OPENED, PRICES_CHANGED} < {action for action, _ in found}
    assert ledger.audit.has("acme", AUTHORITY_OPENED)
    ledger.close()


def test_entries_of_the_audit_log_go_some_at_a_time(ledger: CentralLedger) -> None:
    for number in range(5):
        ledger.audit.note("acme", "t", "key.created", str(number))
    later = time.time_ns() + 10**9
    assert [ledger.audit.forget(later, most=2) for _ in range(4)] == [2, 2, 1, 0]
    assert ledger.audit.entries("acme") == []
