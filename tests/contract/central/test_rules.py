"""Rules' documents of tenants: their versions, their history, who put them, and one at a time."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tollspan.ledger.central import CentralLedger, NoticeKind, RulesDocument, rules
from tollspan.usage import ConfigError

FIRST = "version: 1\n"
SECOND = "version: 1\nbudgets: [{id: all, limit: 5 USD}]  # ünïcode\n"


@pytest.fixture(autouse=True)
def _tenants(ledger: CentralLedger) -> None:
    for name in ("acme", "other"):
        ledger.tenants.create(name, actor="ann")


def put(ledger: CentralLedger, text: str, tenant: str = "acme") -> RulesDocument:
    made = ledger.rules.put(tenant, text, actor="key 1f2e3d4c")
    assert made is not None
    return made


def test_a_tenant_has_no_rules_until_some_are_put(ledger: CentralLedger) -> None:
    assert ledger.rules.head("acme") is None
    assert ledger.rules.document("acme") is None
    assert ledger.rules.document("acme", 1) is None
    assert ledger.rules.history("acme") == []


def test_what_is_put_is_kept_as_it_is_with_who_and_when(ledger: CentralLedger) -> None:
    first, second = put(ledger, FIRST), put(ledger, SECOND)
    assert (first.version, second.version) == (1, 2)
    assert second.digest == hashlib.sha256(SECOND.encode()).hexdigest()
    assert second.bytes == len(SECOND.encode())
    assert second.actor == "key 1f2e3d4c"
    assert first.put_unix_ns < second.put_unix_ns
    assert ledger.rules.document("acme") == second
    assert ledger.rules.document("acme", 1) == first
    head = ledger.rules.head("acme")
    assert head is not None
    assert (head.version, head.digest) == (2, second.digest)


def test_the_same_document_again_is_no_new_version(ledger: CentralLedger) -> None:
    first = put(ledger, FIRST)
    assert ledger.rules.put("acme", FIRST, actor="bob") == first
    assert len(ledger.rules.history("acme")) == 1
    put(ledger, SECOND)
    assert put(ledger, FIRST).version == 3  # an older one again is


def test_rules_of_one_tenant_are_not_those_of_another(ledger: CentralLedger) -> None:
    put(ledger, FIRST)
    assert ledger.rules.document("other") is None
    assert put(ledger, SECOND, tenant="other").version == 1
    assert [one.version for one in ledger.rules.history("acme")] == [1]


def test_nobody_puts_rules_for_a_tenant_that_there_is_not(ledger: CentralLedger) -> None:
    with pytest.raises(ConfigError, match="no tenant 'nobody'"):
        put(ledger, FIRST, tenant="nobody")
    assert ledger.rules.document("nobody") is None


def test_rules_other_than_expected_are_left_alone(ledger: CentralLedger) -> None:
    first = put(ledger, FIRST)
    seen: list[object] = []

    def is_expected(head: object) -> bool:
        seen.append(head)
        return False

    assert ledger.rules.put("acme", SECOND, actor="bob", is_expected=is_expected) is None
    assert seen == [ledger.rules.head("acme")]
    assert ledger.rules.document("acme") == first


def test_history_goes_back_page_by_page(ledger: CentralLedger) -> None:
    made = [put(ledger, f"version: 1  # {number}\n") for number in range(5)]
    first = ledger.rules.history("acme", most=2)
    assert [one.version for one in first] == [5, 4]
    rest = ledger.rules.history("acme", before=first[-1].version)
    assert [one.version for one in rest] == [3, 2, 1]
    assert [one.digest for one in (*first, *rest)] == [one.digest for one in reversed(made)]


def test_a_roll_back_says_which_version_it_is(ledger: CentralLedger) -> None:
    put(ledger, FIRST)
    put(ledger, SECOND)
    back = ledger.rules.put("acme", FIRST, actor="bob", rolled_back_to=1)
    assert back is not None
    assert (back.version, back.rolled_back_to, back.text) == (3, 1, FIRST)
    assert ledger.rules.history("acme")[0].rolled_back_to == 1


def test_every_change_is_in_the_audit_log_once(ledger: CentralLedger) -> None:
    first = put(ledger, FIRST)
    put(ledger, FIRST)
    ledger.rules.put("acme", SECOND, actor="bob", is_expected=lambda _: False)
    ledger.rules.put("acme", SECOND, actor="bob", rolled_back_to=9)
    entries = [one for one in ledger.audit.entries("acme") if one.action == "rules.changed"]
    assert [(one.actor, one.subject) for one in entries] == [("key 1f2e3d4c", "1"), ("bob", "2")]
    assert entries[0].details == {"digest": first.digest, "bytes": first.bytes}
    assert entries[0].at_unix_ns == first.put_unix_ns
    assert entries[1].details["rolled_back_to"] == 9


def test_of_many_that_put_at_once_each_has_a_version_of_its_own(
    ledger: CentralLedger, where: str
) -> None:
    other = CentralLedger(where)  # as a second server has it
    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(
                pool.map(
                    lambda number: put((ledger, other)[number % 2], f"version: 1  # {number}\n"),
                    range(24),
                )
            )
    finally:
        other.close()
    assert sorted(one.version for one in made) == list(range(1, 25))


def test_of_many_that_expect_the_same_one_puts_its_rules(ledger: CentralLedger, where: str) -> None:
    first = put(ledger, FIRST)
    other = CentralLedger(where)

    def change(number: int) -> RulesDocument | None:
        return (ledger, other)[number % 2].rules.put(
            "acme", f"version: 1  # {number}\n", actor="bob",
            is_expected=lambda head: head is not None and head.digest == first.digest,
        )  # fmt: skip

    try:
        with ThreadPoolExecutor(8) as pool:
            made = [one for one in pool.map(change, range(16)) if one is not None]
    finally:
        other.close()
    assert [one.version for one in made] == [2]


def test_webhooks_are_told_of_other_rules_in_the_same_transaction(ledger: CentralLedger) -> None:
    wants: tuple[NoticeKind, ...] = ("rules_changed",)
    webhook, _ = ledger.webhooks.create("acme", "https://a.example/x", wants, actor="ann")
    theirs, _ = ledger.webhooks.create("other", "https://b.example/x", wants, actor="ann")
    first, second = put(ledger, FIRST), put(ledger, SECOND)
    put(ledger, SECOND)
    assert ledger.rules.put("acme", FIRST, actor="ann", is_expected=lambda _: False) is None
    ledger.rules.put("acme", FIRST, actor="ann", rolled_back_to=1)
    told = [json.loads(one.body)["data"] for one in ledger.deliveries.page(webhook.id)]
    assert told[::-1] == [
        {"version": 1, "rules": f'"{first.digest}"', "actor": first.actor, "rolled_back_to": None},
        {"version": 2, "rules": f'"{second.digest}"', "actor": first.actor, "rolled_back_to": None},
        {"version": 3, "rules": f'"{first.digest}"', "actor": "ann", "rolled_back_to": 1},
    ]
    assert ledger.deliveries.page(theirs.id) == []


def test_the_newest_versions_are_kept_by_count_and_the_audit_log_has_all(
    ledger: CentralLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_VERSIONS", 3)
    put(ledger, FIRST, "other")
    for number in range(5):
        put(ledger, f"version: 1  # {number}\n")
    assert [one.version for one in ledger.rules.history("acme")] == [5, 4, 3]
    assert ledger.rules.document("acme", 2) is None
    assert put(ledger, FIRST).version == 6
    changes = [one for one in ledger.audit.entries("acme") if one.action == "rules.changed"]
    assert [one.subject for one in changes] == ["1", "2", "3", "4", "5", "6"]
    assert len(ledger.rules.history("other")) == 1


def test_the_newest_versions_are_kept_by_size_and_the_one_in_force_whatever_it_has(
    ledger: CentralLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"version: 1  # {number}\n" for number in range(4)]
    monkeypatch.setattr(rules, "MOST_VERSIONS_BYTES", 2 * len(texts[0]))
    for text in texts:
        put(ledger, text)
    assert [one.version for one in ledger.rules.history("acme")] == [4, 3]
    put(ledger, FIRST + "# long\n" * 99)
    assert [one.version for one in ledger.rules.history("acme")] == [5]
