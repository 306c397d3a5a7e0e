"""The outbox of webhooks in SQLite and PostgreSQL: put down with its cause, once, in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.contract.ledger.making import new_id, refused
from tollspan.ledger.central import (
    DEAD_AFTER_SECONDS,
    CentralLedger,
    Errand,
    Webhook,
    rules_changed,
)
from tollspan.usage import ConfigError, DecisionEvent, DecisionNote, WarningNote

URL = "https://hooks.example.com/x"
NS = 10**9


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> int:
        return time.time_ns() + int(self.ahead * NS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(where: str, clock: Clock) -> Iterator[CentralLedger]:
    ledger = CentralLedger(where, clock=clock)
    ledger.tenants.create("acme", actor="test")
    yield ledger
    ledger.close()


def denial() -> DecisionEvent:
    made = refused(new_id())
    call = msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
    return msgspec.structs.replace(made, call=call, limit=10**9, spent=10**9, asked=5)


def warning(share: str = "0.8", period: str = "2026-11") -> DecisionEvent:
    return DecisionEvent(
        call=usage_event().call, number=1, decision=DecisionNote(action="warn", rule_ids=("org",)),
        limit=100, spent=81, held=1,
        warning=WarningNote(reason="share", share=share, period=period),
    )  # fmt: skip


def make(ledger: CentralLedger, *wants: str, tenant: str = "acme") -> Webhook:
    kinds = wants or ("denied", "threshold", "rules_changed")
    return ledger.webhooks.create(tenant, URL, kinds, actor="test")[0]  # type: ignore[arg-type]  # words of a test


def send_all(ledger: CentralLedger, webhook: Webhook, sender: str = "s") -> list[Errand]:
    """Deliver what waits, as a sender does that never fails."""
    sent: list[Errand] = []
    assert ledger.deliveries.claim(webhook.id, sender, seconds=60)
    while (errand := ledger.deliveries.errand(webhook.id)) is not None:
        assert ledger.deliveries.succeed(errand, sender, status=200)
        sent.append(errand)
    ledger.deliveries.release(webhook.id, sender)
    return sent


def test_refusals_and_thresholds_are_put_down_with_the_events_that_tell_them(
    ledger: CentralLedger,
) -> None:
    webhook = make(ledger)
    no, low, call = denial(), warning(), usage_event()
    ledger.events.store("acme", [no, call, low])
    sent = [json.loads(one.delivery.body) for one in send_all(ledger, webhook)]
    assert [one["type"] for one in sent] == ["denied", "threshold"]
    assert sent[0]["data"]["event_id"] == no.id
    assert sent[0]["data"]["limit"] == "1000000000"
    assert sent[0]["tenant"] == "acme"
    assert (sent[1]["data"]["share"], sent[1]["data"]["period"]) == ("0.8", "2026-11")
    assert ledger.deliveries.backlog().waiting == 0


def test_an_event_that_is_sent_again_and_a_share_that_two_hosts_saw_are_told_once(
    ledger: CentralLedger,
) -> None:
    webhook = make(ledger)
    no = denial()
    ledger.events.store("acme", [no])
    ledger.events.store("acme", [no, warning()])
    ledger.events.store("acme", [warning(), warning("0.9")])
    ledger.events.store("acme", [warning(period="2026-12")])
    kinds = [one.delivery.kind for one in send_all(ledger, webhook)]
    assert kinds == ["denied", "threshold", "threshold", "threshold"]


def test_a_target_is_told_what_it_wants_of_its_own_tenant_while_it_is_active(
    ledger: CentralLedger,
) -> None:
    ledger.tenants.create("other", actor="test")
    low, other, quiet = make(ledger, "threshold"), make(ledger, tenant="other"), make(ledger)
    assert ledger.webhooks.change("acme", quiet.id, actor="t", is_active=False)
    ledger.events.store("acme", [denial(), warning()])
    ledger.deliveries.put_down("acme", [rules_changed(1, '"e"', actor="a", at_unix_ns=1)])
    assert [one.delivery.kind for one in send_all(ledger, low)] == ["threshold"]
    assert ledger.deliveries.errand(other.id) is None
    assert ledger.deliveries.errand(quiet.id) is None
    assert not ledger.deliveries.claim(quiet.id, "s", seconds=1)


def test_one_sender_has_a_target_and_who_lost_it_notes_nothing(
    ledger: CentralLedger, clock: Clock
) -> None:
    webhook = make(ledger)
    ledger.events.store("acme", [denial()])
    outbox = ledger.deliveries
    assert outbox.due() == [(webhook.id, "acme")]
    assert outbox.claim(webhook.id, "one", seconds=10)
    assert outbox.due() == []
    assert not outbox.claim(webhook.id, "two", seconds=10)
    assert outbox.claim(webhook.id, "one", seconds=10)
    errand = outbox.errand(webhook.id)
    assert errand is not None
    clock.ahead += 11
    assert outbox.claim(webhook.id, "two", seconds=10)
    assert not outbox.succeed(errand, "one", status=200)
    assert outbox.fail(errand, "one", status=500, problem="x", pause_seconds=1) is None
    assert outbox.page(webhook.id)[0].attempts == 0
    assert outbox.succeed(errand, "two", status=200)


def test_what_fails_waits_for_its_time_before_everything_that_came_later(
    ledger: CentralLedger, clock: Clock
) -> None:
    webhook = make(ledger)
    first, second = denial(), denial()
    ledger.events.store("acme", [first])
    ledger.events.store("acme", [second])
    outbox = ledger.deliveries
    assert outbox.claim(webhook.id, "s", seconds=1)
    errand = outbox.errand(webhook.id)
    assert errand is not None
    assert outbox.fail(errand, "s", status=500, problem="x", pause_seconds=30) == "waiting"
    outbox.release(webhook.id, "s")
    assert outbox.due() == []
    clock.ahead += 31
    assert outbox.due() == [(webhook.id, "acme")]
    sent = [json.loads(one.delivery.body)["data"]["event_id"] for one in send_all(ledger, webhook)]
    assert sent == [first.id, second.id]
    assert outbox.page(webhook.id)[1].attempts == 2


def test_what_fails_for_a_day_is_dead_and_kept_and_can_be_replayed_under_its_id(
    ledger: CentralLedger, clock: Clock
) -> None:
    webhook = make(ledger)
    ledger.events.store("acme", [denial(), denial()])
    outbox = ledger.deliveries
    clock.ahead += DEAD_AFTER_SECONDS
    dead: list[str] = []
    for _ in range(2):
        assert outbox.claim(webhook.id, "s", seconds=1)
        errand = outbox.errand(webhook.id)
        assert errand is not None
        assert outbox.fail(errand, "s", status=None, problem="gone", pause_seconds=0) == "dead"
        dead.append(errand.delivery.id)
    assert outbox.errand(webhook.id) is None
    assert [one.problem for one in outbox.page(webhook.id, state="dead")] == ["gone", "gone"]
    assert outbox.replay("other", webhook.id, None, actor="t") == 0
    assert outbox.replay("acme", webhook.id, None, actor="t") == 2
    outbox.release(webhook.id, "s")
    assert [one.delivery.id for one in send_all(ledger, webhook)] == dead
    assert outbox.replay("acme", webhook.id, dead[:1], actor="t") == 1
    assert [one.delivery.id for one in send_all(ledger, webhook)] == dead[:1]
    assert [one.action for one in ledger.audit.entries("acme")][-2:] == ["webhook.replayed"] * 2
    clock.ahead += 10
    assert outbox.forget(clock()) == 2


def test_the_secret_before_signs_too_until_its_time_is_over(
    ledger: CentralLedger, clock: Clock
) -> None:
    webhook, first = ledger.webhooks.create("acme", URL, ["denied"], actor="t")
    ledger.events.store("acme", [denial()])
    rotated = ledger.webhooks.rotate("acme", webhook.id, actor="t", keep_seconds=60)
    assert rotated is not None
    errand = ledger.deliveries.errand(webhook.id)
    assert errand is not None
    assert errand.secrets == (rotated[1], first)
    clock.ahead += 61
    errand = ledger.deliveries.errand(webhook.id)
    assert errand is not None
    assert errand.secrets == (rotated[1],)


def test_targets_are_made_changed_and_deleted_and_the_audit_log_has_no_secret_path(
    ledger: CentralLedger,
) -> None:
    webhook, secret = ledger.webhooks.create("acme", URL, ["denied"], actor="t", label="x")
    assert secret.startswith("whsec_")
    assert ledger.webhooks.find("other", webhook.id) is None
    assert ledger.webhooks.change("other", webhook.id, actor="t", label="y") is None
    changed = ledger.webhooks.change(
        "acme", webhook.id, actor="t", url="https://b.example/path", wants=["threshold"]
    )
    assert changed is not None
    assert (changed.url, changed.wants) == ("https://b.example/path", ("threshold",))
    assert not ledger.webhooks.delete("other", webhook.id, actor="t")
    assert ledger.webhooks.delete("acme", webhook.id, actor="t")
    assert ledger.webhooks.all("acme") == []
    entries = ledger.audit.entries("acme")
    assert [one.action for one in entries if one.action.startswith("webhook")] == [
        "webhook.created", "webhook.changed", "webhook.deleted",
    ]  # fmt: skip
    assert "path" not in str(entries)
    assert secret not in str(entries)
    with pytest.raises(ConfigError, match="expected some of"):
        ledger.webhooks.create("acme", URL, [], actor="t")


def test_deliveries_of_many_writers_have_one_order_without_gaps_in_time(
    ledger: CentralLedger,
) -> None:
    webhook = make(ledger)

    def write() -> None:
        for _ in range(5):
            ledger.events.store("acme", [denial(), denial()])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [one.delivery.number for one in send_all(ledger, webhook)]
    assert numbers == list(range(1, 41))
