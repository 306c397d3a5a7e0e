"""Tenants and keys: what is stored of a key, who may make one, and when it ends."""

from __future__ import annotations

from typing import cast

import pytest

from tollspan.ledger.central import EVERY_TENANT, CentralLedger, Scope
from tollspan.usage import ConfigError


def test_a_key_is_known_by_its_secret_until_it_is_revoked(ledger: CentralLedger) -> None:
    ledger.tenants.create("acme", actor="ann")
    key, secret = ledger.tenants.create_key("acme", ["read", "ingest"], actor="ann", label="ci")
    assert secret.startswith(f"tsp_{key.id}_")
    assert (key.tenant, key.scopes, key.label) == ("acme", ("ingest", "read"), "ci")
    assert ledger.tenants.whose(secret) == key
    ended = ledger.tenants.revoke(key.id, actor="bob")
    assert ended is not None
    assert ended.revoked_unix_ns is not None
    assert ledger.tenants.whose(secret) is None
    assert ledger.tenants.keys("acme") == [ended]


@pytest.mark.parametrize("change", ["none", "id", "last", "longer", "odd"])
def test_nothing_but_the_secret_is_a_key(ledger: CentralLedger, change: str) -> None:
    ledger.tenants.create("acme", actor="ann")
    _, first = ledger.tenants.create_key("acme", ["read"], actor="ann")
    _, second = ledger.tenants.create_key("acme", ["read"], actor="ann")
    wrong = {
        "none": "",
        "id": first[:13] + second[13:],
        "last": first[:-1] + ("A" if first[-1] != "A" else "B"),
        "longer": first + "A",
        "odd": first[:-1] + "\ud800",
    }[change]
    assert ledger.tenants.whose(wrong) is None


def test_the_secret_is_nowhere_in_the_books(
    ledger: CentralLedger, where: str, tmp_path: object
) -> None:
    ledger.tenants.create("acme", actor="ann")
    _, secret = ledger.tenants.create_key("acme", ["read"], actor="ann")
    told = repr(ledger.tenants.keys()) + repr(ledger.audit.entries())
    assert secret[13:] not in told
    if where.startswith("sqlite:"):
        ledger.close()
        from pathlib import Path

        for file in Path(str(tmp_path)).iterdir():
            assert secret[13:].encode() not in file.read_bytes()


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 65, "a\n", "ä", "*"])
def test_a_tenant_with_an_odd_name_is_refused(ledger: CentralLedger, name: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 64"):
        ledger.tenants.create(name, actor="ann")
    assert ledger.tenants.all() == []


def test_a_tenant_is_made_once(ledger: CentralLedger) -> None:
    made = ledger.tenants.create("acme", actor="ann")
    with pytest.raises(ConfigError, match="already"):
        ledger.tenants.create("acme", actor="ann")
    assert ledger.tenants.all() == [made]


def test_a_key_needs_a_tenant_and_scopes_that_there_are(ledger: CentralLedger) -> None:
    with pytest.raises(ConfigError, match="no tenant"):
        ledger.tenants.create_key("nobody", ["read"], actor="ann")
    ledger.tenants.create("acme", actor="ann")
    for wrong in ([], ["write"], ["read", "write"]):
        with pytest.raises(ConfigError, match="expected some of ingest, read, admin"):
            ledger.tenants.create_key("acme", cast("list[Scope]", wrong), actor="ann")
    assert ledger.tenants.create_key(EVERY_TENANT, ["admin"], actor="ann")[0].tenant == "*"


def test_a_key_of_another_tenant_is_not_revoked(ledger: CentralLedger) -> None:
    for name in ("acme", "other"):
        ledger.tenants.create(name, actor="ann")
    key, secret = ledger.tenants.create_key("acme", ["read"], actor="ann")
    assert ledger.tenants.revoke(key.id, actor="eve", tenant="other") is None
    assert ledger.tenants.revoke("00000000", actor="eve") is None
    assert ledger.tenants.whose(secret) == key


def test_every_change_is_in_the_audit_log_of_its_tenant(ledger: CentralLedger) -> None:
    ledger.tenants.create("acme", actor="ann")
    ledger.tenants.create("other", actor="ann")
    key, _ = ledger.tenants.create_key("acme", ["read"], actor="ann", label="ci")
    ledger.tenants.revoke(key.id, actor="bob")
    ledger.tenants.revoke(key.id, actor="bob")  # changes nothing
    entries = ledger.audit.entries("acme")
    assert [(one.actor, one.action, one.subject) for one in entries] == [
        ("ann", "tenant.created", "acme"),
        ("ann", "key.created", key.id),
        ("bob", "key.revoked", key.id),
    ]
    assert entries[1].details == {"scopes": ["read"], "label": "ci"}
    assert ledger.audit.entries("acme", after=entries[0].number, most=1) == [entries[1]]
