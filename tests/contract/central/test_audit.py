"""The audit log in SQLite and PostgreSQL: what is noted, once, and how it is asked for."""

from __future__ import annotations

import time

import pytest

from tests.contract.ledger.making import new_id
from tollspan.ledger.central import EVERY_TENANT, PRICES_CHANGED, CentralLedger
from tollspan.usage import Adjustment, Charge


def adjustment(author: str = "ann@host", charges: int = 1) -> Adjustment:
    return Adjustment(
        id=new_id(), at_unix_ns=time.time_ns(), action="raise", author=author, reason="a launch",
        charges=(Charge(budget_id="org", period="2026-11", posted=-5 * 10**9),) * charges,
    )  # fmt: skip


def test_an_operators_posting_is_noted_once_with_who_why_and_what(ledger: CentralLedger) -> None:
    ledger.tenants.create("acme", actor="t")
    raised = adjustment()
    for _ in range(2):
        ledger.events.store("acme", [raised, raised])
    (entry,) = ledger.audit.entries("acme", action="budget")
    assert (entry.actor, entry.action, entry.subject) == ("ann@host", "budget.raise", raised.id)
    assert entry.details == {
        "reason": "a launch",
        "count": 1,
        "charges": [
            {"budget": "org", "scope": "", "period": "2026-11", "unit": "nanousd",
             "posted": "-5000000000"},
        ],
    }  # fmt: skip


def test_what_a_hostile_host_says_of_itself_is_bounded(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [adjustment("\x00\n" + "a" * 10_000, charges=500)])
    (entry,) = ledger.audit.entries("acme")
    assert entry.actor == "??" + "a" * 198
    assert entry.details["count"] == 500
    assert len(repr(entry)) < 5_000


def test_entries_are_asked_for_by_time_action_and_place_in_both_orders(
    ledger: CentralLedger,
) -> None:
    audit = ledger.audit
    for number in range(3):
        audit.note("acme", "t", "key.created", str(number))
    audit.note("acme", "t", "keynote.given", "x")
    audit.note("other", "t", "key.created", "y")
    oldest = audit.entries("acme")
    newest = audit.entries("acme", is_newest_first=True)
    assert newest == oldest[::-1]
    assert audit.entries("acme", is_newest_first=True, after=newest[1].number) == newest[2:]
    assert audit.entries("acme", after=oldest[1].number, most=1) == [oldest[2]]
    assert audit.entries("acme", action="key") == oldest[:3]
    assert audit.entries("acme", action="key.created") == oldest[:3]
    assert audit.entries("acme", action="%") == []
    at = oldest[2].at_unix_ns
    assert audit.entries("acme", since_unix_ns=at) == oldest[2:]
    assert audit.entries("acme", until_unix_ns=at) == oldest[:2]
    assert [one.tenant for one in audit.entries()] == ["acme"] * 4 + ["other"]


def test_other_prices_are_noted_when_they_change_and_seen_by_every_tenant(
    ledger: CentralLedger,
) -> None:
    for book in ("a", "a", "b", "a"):
        ledger.audit.note_change(EVERY_TENANT, "server", PRICES_CHANGED, book)
    ledger.audit.note(EVERY_TENANT, "t", "key.created", "of all")
    found = ledger.audit.entries("acme")
    assert [(one.subject, one.details["before"]) for one in found] == [
        ("a", None), ("b", "a"), ("a", "b"),
    ]  # fmt: skip
    assert len(ledger.audit.entries(EVERY_TENANT)) == 4


def test_what_may_be_told_again_is_noted_once(ledger: CentralLedger) -> None:
    for _ in range(2):
        ledger.audit.note_once("acme", "t", "authority.credited", "c1", count=1)
    ledger.audit.note_once("acme", "t", "authority.credited", "c2")
    ledger.audit.note_once("other", "t", "authority.credited", "c1")
    assert [one.subject for one in ledger.audit.entries("acme")] == ["c1", "c2"]


@pytest.mark.parametrize("author", ["server", "key 1f2e3d4c"])
def test_no_host_passes_for_the_server_or_for_a_key(ledger: CentralLedger, author: str) -> None:
    ledger.events.store("acme", [adjustment(author)])
    (entry,) = ledger.audit.entries("acme", action="budget")
    assert entry.actor == f"somebody named {author}"


def test_details_are_found_by_subject_of_a_tenant_since_a_time(ledger: CentralLedger) -> None:
    for tenant, subject in (("acme", "a"), ("acme", "b"), ("other", "c")):
        ledger.audit.note(tenant, "t", "authority.credited", subject, count=1)
    ledger.audit.note("acme", "t", "authority.opened", "d")
    found = ledger.audit.details(
        "acme", "authority.credited", ["a", "c", "d", "e"], since_unix_ns=0
    )
    assert found == {"a": {"count": 1}}
    late = time.time_ns() + 1_000_000_000
    assert ledger.audit.details("acme", "authority.credited", ["a"], since_unix_ns=late) == {}
