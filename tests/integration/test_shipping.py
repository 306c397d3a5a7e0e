"""Events on their way to an ingest API: each arrives, once, whatever the server does."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.contract.ledger.making import account, charge, event, new_id, refused
from tests.fakes import FakeOpenAI
from tests.fakes.ingest import FakeIngest, Mood
from tollspan.exporter import Shipper
from tollspan.exporter._batches import RefusedError
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import (
    Fact,
    LedgerCorruptError,
    LedgerError,
    TollspanError,
    UsageEvent,
    event_id,
)

ORG = account("org", limit=10**15)


@pytest.fixture
def ingest() -> Iterator[FakeIngest]:
    with FakeIngest() as server:
        yield server


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SQLiteLedger]:
    ledger = SQLiteLedger(tmp_path)
    yield ledger
    ledger.close()


def fill(ledger: SQLiteLedger, count: int) -> list[str]:
    """Store events; return their ids."""
    ids = [new_id() for _ in range(count)]
    for number, name in enumerate(ids):
        ledger.post(event(name, charge(ORG, posted=number), cost=number), None)
    return ids


def shipper_to(ingest: FakeIngest, ledger: SQLiteLedger, most_events: int = 500) -> Shipper:
    return Shipper(ledger, ingest.root_url, ingest.key, most_events=most_events)


def test_each_batch_tells_what_is_left_behind_it(ingest: FakeIngest, ledger: SQLiteLedger) -> None:
    first, *_ = fill(ledger, 25)
    ingest.refuses = lambda fact: "odd" if event_id(fact) == first else None
    shipper = shipper_to(ingest, ledger, most_events=10)
    shipper.ship()
    fill(ledger, 1)
    shipper.ship()
    left = [int(waiting) for waiting, _ in ingest.left]
    assert left[0] == 15
    assert left[-1] == 0
    assert [dead for _, dead in ingest.left] == ["0", "0", "0", "1"]


def test_every_event_arrives_once_and_whole_in_batches(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ids = fill(ledger, 25)
    shipper = shipper_to(ingest, ledger, most_events=10)
    assert shipper.ship() == 25
    assert list(ingest.stored) == ids
    assert list(ingest.stored.values()) == list(LedgerReader(ledger.path).events())
    assert ingest.batches == [10, 10, 5]
    assert shipper.ship() == 0
    more = fill(ledger, 1)
    assert Shipper(ledger, ingest.root_url, ingest.key).ship() == 1  # another process goes on
    assert list(ingest.stored) == ids + more
    status = shipper.status()
    assert (status.problem, status.waits.count if status.waits else None) == (None, 0)


def test_refusals_and_adjustments_are_sent_too(ingest: FakeIngest, ledger: SQLiteLedger) -> None:
    ledger.note(refused(new_id()))
    ledger.close()
    assert shipper_to(ingest, ledger).ship() == 1


MOODS: list[tuple[Mood, str]] = [
    ("html", "something else than the verdicts"),
    ("redirect", "sends us to other.example"),
    ("reset", "can't be reached"),
    ("lies", "not for ours"),
    ("half", "not for ours"),
    ("forgets", "can't be reached"),
    ("closes", "can't be read"),
]


@pytest.mark.parametrize(("mood", "said"), MOODS)
def test_a_server_that_misbehaves_has_everything_once_when_it_is_well_again(
    ingest: FakeIngest, ledger: SQLiteLedger, mood: Mood, said: str
) -> None:
    ids = fill(ledger, 7)
    shipper = shipper_to(ingest, ledger)
    ingest.mood = mood
    for _ in range(2):
        with pytest.raises(TollspanError, match=said):
            shipper.ship()
    status = shipper.status()
    assert said in (status.problem or "")
    assert status.waits is not None
    assert (status.waits.count, status.waits.dead) == (7, 0)
    ingest.mood = "good"
    shipper.ship()
    assert list(ingest.stored) == ids
    assert shipper.status().problem is None


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_server_that_refuses_has_everything_once_when_it_no_longer_does(
    ingest: FakeIngest, ledger: SQLiteLedger, status: int
) -> None:
    ids = fill(ledger, 3)
    ingest.status = status
    shipper = shipper_to(ingest, ledger)
    with pytest.raises(TollspanError, match=str(status)):
        shipper.ship()
    ingest.status = 200
    assert shipper.ship() == 3
    assert list(ingest.stored) == ids


def test_what_is_refused_for_good_is_kept_and_the_rest_goes_on_and_it_can_be_sent_again(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ids = fill(ledger, 9)

    def odd(fact: Fact) -> str | None:
        assert isinstance(fact, UsageEvent)
        return "invalid" if (fact.cost.amount_nanousd or 0) % 2 else None

    ingest.refuses = odd
    shipper = shipper_to(ingest, ledger, most_events=4)
    assert shipper.ship() == 5
    assert list(ingest.stored) == ids[::2]
    outbox = ledger.outbox
    dead = list(outbox.dead_letters(shipper.destination))
    assert {one.event_id for one in dead} == set(ids[1::2])
    assert {(one.reason, one.message, one.is_wanted) for one in dead} == {("invalid", "no", False)}
    assert shipper.ship() == 0  # until somebody asks for it
    assert outbox.replay(shipper.destination, [ids[1]]) == 1
    assert shipper.ship() == 0  # it is refused again
    ingest.refuses = lambda _: None
    assert outbox.replay(shipper.destination, None) == 4
    assert shipper.ship() == 4
    assert set(ingest.stored) == set(ids)
    assert list(outbox.dead_letters(shipper.destination)) == []


def test_what_was_of_the_future_for_a_server_is_sent_again_until_its_time_has_come(
    ingest: FakeIngest, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(ledger, 9)
    own = {name: number for number, name in enumerate(ids)}
    now = 0

    def ahead(fact: Fact) -> str | None:
        return "in_the_future" if own.get(event_id(fact), 0) > now else None

    ingest.refuses = ahead
    shipper = shipper_to(ingest, ledger, most_events=4)
    assert shipper.ship() == 1
    asked = len(ingest.batches)
    assert shipper.ship() == 0
    assert len(ingest.batches) == asked  # it is not asked again and again
    more = fill(ledger, 1)
    assert shipper.ship() == 1  # what others wait for nobody keeps from being sent
    assert all(one.is_not_yet for one in ledger.outbox.dead_letters(shipper.destination))
    now = 5
    assert shipper_to(ingest, ledger, most_events=4).ship() == 5  # the next process tries at once
    now = 8
    monkeypatch.setattr("tollspan.exporter._shipping._NOT_YET_SECONDS", 0.0)
    later = shipper_to(ingest, ledger, most_events=4)
    assert later.ship() == 3
    assert set(ingest.stored) == {*ids, *more}
    assert list(ledger.outbox.dead_letters(later.destination)) == []


def test_a_batch_that_is_too_large_is_sent_in_smaller_ones(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ids = fill(ledger, 20)
    ingest.most = 3
    shipper_to(ingest, ledger, most_events=16).ship()
    assert list(ingest.stored) == ids


def test_an_event_that_is_too_large_by_itself_is_refused_and_the_rest_goes_on(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    fill(ledger, 2)
    ingest.most = 0
    shipper = shipper_to(ingest, ledger)
    shipper.ship()
    dead = list(ledger.outbox.dead_letters(shipper.destination))
    assert [one.reason for one in dead] == ["too_large"] * 2


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("99999999", 3600),
        ("Thu, 01 Jan 2015 00:00:00 GMT", 0),
        ("Mon, 99 Nov 2026 25:61:00 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("", None),
    ],
)
def test_a_wait_that_makes_no_sense_is_none(
    ingest: FakeIngest, ledger: SQLiteLedger, said: str, seconds: float | None
) -> None:
    ids = fill(ledger, 1)
    ingest.status, ingest.headers = 503, {"retry-after": said}
    with pytest.raises(RefusedError) as caught:
        shipper_to(ingest, ledger).ship()
    assert caught.value.wait_seconds == seconds
    ingest.status = 200
    shipper_to(ingest, ledger).ship()
    assert list(ingest.stored) == ids


def test_a_server_is_asked_nothing_while_nothing_waits(
    ingest: FakeIngest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "new"
    ledger = SQLiteLedger(home)
    shipper = shipper_to(ingest, ledger)
    assert shipper.ship() == 0
    shipper.close(5)
    assert not home.exists()
    fill(ledger, 1)
    assert shipper_to(ingest, ledger).ship() == 1
    asked = ingest.asked
    assert shipper_to(ingest, ledger).ship() == 0
    assert (ingest.asked, caplog.text) == (asked, "")
    ledger.close()


def test_a_refused_event_that_is_damaged_since_says_the_way_out(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    (name,) = fill(ledger, 1)
    ingest.refuses = lambda _: "invalid"
    shipper = shipper_to(ingest, ledger)
    shipper.ship()
    ledger.outbox.replay(shipper.destination, [name])
    with contextlib.closing(sqlite3.connect(ledger.path)) as file:
        file.execute("UPDATE events SET data = x'7b'")
        file.commit()
    with pytest.raises(LedgerCorruptError, match="tollspan ledger rebuild"):
        shipper.ship()


def test_one_process_at_a_time_sends(ingest: FakeIngest, ledger: SQLiteLedger) -> None:
    fill(ledger, 1)
    ingest.mood = "silent"
    first = threading.Thread(target=_ship_whatever, args=(shipper_to(ingest, ledger),))
    first.start()
    while not ingest.batches:
        time.sleep(0.01)
    assert shipper_to(ingest, ledger).ship() == 0
    assert ingest.batches == [1]
    ingest.mood = "good"
    ingest.go_on.set()
    first.join()
    assert shipper_to(ingest, ledger).ship() == 1


def _ship_whatever(shipper: Shipper) -> None:
    with pytest.raises(TollspanError):
        shipper.ship()


def test_events_never_go_out_under_the_key_of_another_tenant(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    fill(ledger, 1)
    shipper_to(ingest, ledger).ship()
    fill(ledger, 1)
    ingest.tenant = "beta"
    with pytest.raises(TollspanError, match="are of tenant 'acme', and the key"):
        shipper_to(ingest, ledger).ship()
    assert ingest.batches == [1]
    # A process that asked before the key changed hands is told by the server.
    with FakeIngest() as other:
        shipper = shipper_to(other, ledger)
        shipper.ship()
        fill(ledger, 1)
        before = len(other.stored)
        other.tenant = "beta"
        with pytest.raises(TollspanError, match="403"):
            shipper.ship()
        assert len(other.stored) == before


def test_a_rebuilt_ledger_sends_everything_again_and_the_tenant_stays(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ids = fill(ledger, 5)
    shipper_to(ingest, ledger).ship()
    ledger.close()
    for suffix in ("", "-wal", "-shm"):
        ledger.path.with_name(ledger.path.name + suffix).unlink(missing_ok=True)
    ids += fill(ledger, 2)
    shipper_to(ingest, ledger).ship()
    assert list(ingest.stored) == ids
    fill(ledger, 1)
    ingest.tenant = "beta"
    with pytest.raises(TollspanError, match="tenant 'acme'"):
        shipper_to(ingest, ledger).ship()


def test_a_thread_sends_what_comes_waits_as_long_as_it_is_told_and_ends(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ingest.status, ingest.headers = 429, {"retry-after": "1"}
    ids = fill(ledger, 2)
    shipper = Shipper(ledger, ingest.root_url, ingest.key, look_every_seconds=0.02)
    shipper.start()
    while not ingest.times:
        time.sleep(0.01)
    ingest.status = 200
    give_up_at = time.monotonic() + 20
    while len(ingest.stored) < 2:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    assert ingest.times[1] - ingest.times[0] >= 1
    assert list(ingest.stored) == ids
    shipper.close(5)
    assert not any(one.name == "tollspan-shipping" for one in threading.enumerate())


def test_the_end_of_a_process_sends_what_is_left_and_waits_for_a_silent_server_a_bounded_time(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    fill(ledger, 3)
    shipper_to(ingest, ledger).close(5)
    assert len(ingest.stored) == 3
    fill(ledger, 1)
    ingest.mood = "silent"
    began = time.monotonic()
    shipper_to(ingest, ledger).close(0.5)
    assert time.monotonic() - began < 5


def test_a_state_that_cannot_be_written_down_is_no_failure_of_ours(
    ingest: FakeIngest, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    fill(ledger, 3)
    (ledger.home / "run" / "shipping.json").mkdir(parents=True)
    assert shipper_to(ingest, ledger).ship() == 3
    assert caplog.records == []


def test_the_key_is_in_no_message(
    ingest: FakeIngest, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fill(ledger, 1)
    with pytest.raises(TollspanError, match="TOLLSPAN_API_KEY") as caught:
        Shipper(ledger, ingest.root_url, "tsp_of_nobody").ship()
    assert "tsp_of_nobody" not in str(caught.value) + caplog.text
    assert "tsp_of_nobody" not in "".join(
        one.read_text(errors="replace") for one in ledger.home.rglob("*") if one.is_file()
    )


def test_a_home_that_takes_no_file_is_told(ingest: FakeIngest, ledger: SQLiteLedger) -> None:
    fill(ledger, 1)
    (ledger.home / f"tenant.{os.getpid()}").mkdir()
    with pytest.raises(LedgerError, match="can't be written"):
        shipper_to(ingest, ledger).ship()
    assert ingest.batches == []


def test_a_program_sends_what_it_did_and_no_call_waits_for_a_silent_server(
    ingest: FakeIngest, tmp_path: Path
) -> None:
    code = """
        import time
        from openai import OpenAI
        client = OpenAI(api_key="sk", max_retries=0)
        began = time.monotonic()
        for _ in range(20):
            client.chat.completions.create(
                model="gpt-4o-mini", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            )
        print(time.monotonic() - began)
    """
    with FakeOpenAI() as fake:
        harness.write_rules(tmp_path)
        env = harness.environment(
            tmp_path,
            fake.base_url,
            TOLLSPAN_ENDPOINT=ingest.root_url,
            TOLLSPAN_API_KEY=ingest.key,
            TOLLSPAN_AUTHORITY="sqlite:",
        )
        ingest.mood = "silent"
        began = time.monotonic()
        done = harness.run(harness.program(code), env)
        assert done.returncode == 0
        assert done.stderr.endswith("it did not answer in time\n")
        assert done.stderr.count("\n") == 1
        assert float(done.stdout) < 5
        assert time.monotonic() - began < 20
        ingest.mood = "good"
        ingest.go_on.set()
        done = harness.run(harness.program(code), env)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(ingest.stored) == fake.hits == 40
