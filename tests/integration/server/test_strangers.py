"""What one tenant's key is told of the server's inside and of other tenants: nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.contract.central.making import usage_event
from tests.serving import running_server
from tollspan.ledger.central import EventQuery
from tollspan.usage import BATCH_MEDIA_TYPE, encode_batch, encode_cloud_event


def test_where_the_authority_is_stays_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = f"sqlite:{tmp_path / 'server.db'}"
    with running_server(where, authority=f"sqlite:{tmp_path / 'money.db'}") as server:
        key = server.make_key("acme", "ingest")
        assert server.ask("GET", "/v1/leases/epoch", key=key).status == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "money.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            account = {"budget_id": "b", "scope": "s", "period": "p", "unit": "usd", "limit": "5"}
            asked = {
                "lease": {"holder": "h", "fence": 1},
                "wants": [{"account": account, "need": "1", "wish": "1"}],
            }
            answer = server.ask("POST", "/v1/leases/grant", key=key, body=asked)
    assert (answer.status, answer.problem) == (503, "authority_unavailable")
    assert str(tmp_path) not in answer.body.decode()
    assert "log" in answer.json["error"]["message"]
    assert "the authority can't be used" in caplog.text


def test_who_looks_after_all_tenants_makes_none_by_naming_it(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:
        key = server.make_key("*", "ingest", "read")
        batch = encode_batch([encode_cloud_event(usage_event())])
        for tenant, status in (("acme", 200), ("acme2", 403), ("*", 403), ("../acme", 403)):
            answer = server.ask(
                "POST", "/v1/events", key=key, data=batch,
                headers={"Content-Type": BATCH_MEDIA_TYPE, "Tollspan-Tenant": tenant},
            )  # fmt: skip
            assert answer.status == status, tenant
        server.make_key("acme2")
        asked = {"Tollspan-Tenant": "acme2"}
        assert server.ask("GET", "/v1/events", key=key, headers=asked).json["events"] == []
        assert server.ledger.reader.events("*", EventQuery()) == []
