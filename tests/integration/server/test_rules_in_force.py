"""The rules in force of a tenant as the server sees them: parsed once, a second old at most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tollspan.ledger.central import CentralLedger
from tollspan.server.rules import NO_RULES, RulesInForce

FIRST = "version: 1\nbudgets: [{id: all, limit: 5 USD}]\n"
SECOND = "version: 1\nbudgets: [{id: all, limit: 7 USD}]\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[CentralLedger]:
    ledger = CentralLedger(f"sqlite:{tmp_path / 'central.db'}")
    for name in ("acme", "other"):
        ledger.tenants.create(name, actor="ann")
    yield ledger
    ledger.close()


class Clock:
    """Seconds, as a test moves them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_tenant_without_rules_has_none_and_others_have_their_own(ledger: CentralLedger) -> None:
    ledger.rules.put("other", FIRST, actor="ann")
    rules = RulesInForce(ledger.rules)
    assert rules.of("acme") == NO_RULES
    assert rules.etag("acme") is None
    assert rules.of("other").rules.budgets[0].limit == 5 * 10**9
    assert rules.of("other").etag == rules.etag("other")


def test_what_another_server_puts_is_seen_within_a_second(ledger: CentralLedger) -> None:
    clock = Clock()
    rules = RulesInForce(ledger.rules, clock)
    assert rules.of("acme").version == 0
    ledger.rules.put("acme", FIRST, actor="ann")
    clock.now = 0.99
    assert rules.of("acme").version == 0
    clock.now = 1.0
    assert (rules.of("acme").version, rules.of("acme").text) == (1, FIRST)


def test_what_is_forgotten_is_looked_up_at_once(ledger: CentralLedger) -> None:
    rules = RulesInForce(ledger.rules, Clock())
    ledger.rules.put("acme", FIRST, actor="ann")
    first = rules.of("acme")
    ledger.rules.put("acme", SECOND, actor="ann")
    assert rules.of("acme") is first
    rules.forget("acme")
    second = rules.of("acme")
    assert second.rules.budgets[0].limit == 7 * 10**9
    assert second.etag == rules.etag("acme") != first.etag
    assert rules.of("acme") is second  # parsed once
