"""What came in is counted by minute and hour, and who sent it is known, within bounds."""

from __future__ import annotations

import threading

import msgspec

from tollspan.ledger.central import GRAINS_NS, MOST_SENDERS, CentralLedger, Sender

HOUR = GRAINS_NS["hour"]
MINUTE = GRAINS_NS["minute"]
NOW = 500_000 * HOUR


def a_sender(service: str = "web", received: int = NOW, events: int = 1) -> Sender:
    return Sender(
        key_id="k1", service=service, environment="", received_unix_ns=received,
        call_unix_ns=received - 7, behind_ns=5, events=events,
    )  # fmt: skip


def test_counts_add_up_by_minute_and_by_hour(ledger: CentralLedger) -> None:
    minute = NOW // MINUTE
    for _ in range(2):
        ledger.receipts.add(
            {("acme", minute, "accepted"): 5, ("acme", minute + 59, "accepted"): 7,
             ("acme", minute + 60, "duplicate"): 1, ("other", minute, "accepted"): 100},
            [],
        )  # fmt: skip
    receipts = ledger.receipts
    assert receipts.sums("acme", NOW, NOW + HOUR) == {"accepted": 24}
    assert receipts.sums("acme", NOW, NOW + 2 * HOUR) == {"accepted": 24, "duplicate": 2}
    assert receipts.by_minute("acme", NOW + MINUTE) == {
        minute + 59: {"accepted": 14}, minute + 60: {"duplicate": 2},
    }  # fmt: skip


def test_who_sends_is_known_by_the_newest_that_came(ledger: CentralLedger) -> None:
    ledger.receipts.add({}, [("acme", a_sender(events=2)), ("acme", a_sender("worker"))])
    ledger.receipts.add({}, [("acme", a_sender(received=NOW + 9, events=3))])
    ledger.receipts.add({}, [("acme", a_sender(received=NOW - 9, events=1))])
    found = ledger.receipts.senders("acme")
    assert [(one.service, one.received_unix_ns, one.events) for one in found] == [
        ("worker", NOW, 1), ("web", NOW + 9, 6),
    ]  # fmt: skip
    assert found[1].call_unix_ns == NOW + 2
    assert ledger.receipts.senders("other") == []


def test_what_a_host_told_of_its_outbox_stays_until_one_tells_again(ledger: CentralLedger) -> None:
    told = msgspec.structs.replace(a_sender(), waiting=7, refused=1)
    for one in (told, a_sender(received=NOW + 1)):
        ledger.receipts.add({}, [("acme", one)])
        (found,) = ledger.receipts.senders("acme")
        assert (found.waiting, found.refused) == (7, 1)
    ledger.receipts.add({}, [("acme", msgspec.structs.replace(told, waiting=0, refused=0))])
    (found,) = ledger.receipts.senders("acme")
    assert (found.waiting, found.refused) == (0, 0)


def test_of_very_many_senders_those_heard_of_last_are_kept(ledger: CentralLedger) -> None:
    many = [("acme", a_sender(f"s{n}", NOW + n)) for n in range(MOST_SENDERS + 5)]
    ledger.receipts.add({}, many)
    found = ledger.receipts.senders("acme")
    assert len(found) == MOST_SENDERS
    assert found[0].service == "s5"


def test_minutes_are_forgotten_after_a_day_and_hours_after_years(ledger: CentralLedger) -> None:
    ledger.receipts.add({("acme", NOW // MINUTE, "accepted"): 1}, [])
    assert ledger.receipts.forget(NOW + 23 * HOUR) == 0
    assert ledger.receipts.forget(NOW + 25 * HOUR) == 1
    assert ledger.receipts.by_minute("acme", 0) == {}
    assert ledger.receipts.sums("acme", NOW, NOW + HOUR) == {"accepted": 1}
    assert ledger.receipts.forget(NOW + 401 * 24 * HOUR) == 1


def test_servers_that_count_at_once_lose_nothing(ledger: CentralLedger) -> None:
    def count() -> None:
        for number in range(10):
            counts = {("acme", NOW // MINUTE + n, "accepted"): 1 for n in range(number, 0, -1)}
            ledger.receipts.add(counts, [("acme", a_sender(f"s{n}")) for n in range(3, 0, -1)])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ledger.receipts.sums("acme", 0, NOW * 2).values()) == 4 * sum(range(10))
    assert [one.events for one in ledger.receipts.senders("acme")] == [40, 40, 40]
