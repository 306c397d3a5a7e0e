"""Sessions of people, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tollspan.ledger.central import ApiKey, CentralLedger

NOW = [10**18]


@pytest.fixture
def ledger(where: str) -> Iterator[CentralLedger]:
    NOW[0] = 10**18
    ledger = CentralLedger(where, clock=lambda: NOW[0])
    yield ledger
    ledger.close()


def make_key(ledger: CentralLedger) -> ApiKey:
    ledger.tenants.create("acme", actor="test")
    return ledger.tenants.create_key("acme", ["read"], actor="test")[0]


def test_a_session_is_known_to_every_server_of_the_database(
    ledger: CentralLedger, where: str
) -> None:
    key = make_key(ledger)
    secret = ledger.sessions.begin(key, seconds=60)
    another = CentralLedger(where, clock=lambda: NOW[0])
    assert another.sessions.whose(secret) == key
    another.sessions.end(secret)
    another.close()
    assert ledger.sessions.whose(secret) is None


def test_a_session_ends_by_itself(ledger: CentralLedger) -> None:
    secret = ledger.sessions.begin(make_key(ledger), seconds=60)
    NOW[0] += 60 * 10**9 - 1
    assert ledger.sessions.whose(secret) is not None
    NOW[0] += 1
    assert ledger.sessions.whose(secret) is None


def test_a_session_ends_with_its_key(ledger: CentralLedger) -> None:
    key = make_key(ledger)
    secret = ledger.sessions.begin(key, seconds=60)
    ledger.tenants.revoke(key.id, actor="test")
    assert ledger.sessions.whose(secret) is None


def test_what_is_no_session_is_none(ledger: CentralLedger) -> None:
    ledger.sessions.begin(make_key(ledger), seconds=60)
    for secret in ("", "x", "é" * 100, "\ud800"):
        assert ledger.sessions.whose(secret) is None
        ledger.sessions.end(secret)
