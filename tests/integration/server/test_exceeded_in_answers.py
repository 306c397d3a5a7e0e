"""Answers to batches of events say which accounts of the tenant are used up, on every replica."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.ledger.making import charge, event, new_id
from tests.serving import RunningServer, running_server
from tollspan.budget import Account, Flag, Window, period, periods
from tollspan.exporter import Heeder, Shipper
from tollspan.ledger import SQLiteLedger
from tollspan.usage import encode_cloud_event

_LIMIT = 5_000_000_000
_RULES = """
version: 1
budgets:
  - {id: org, limit: 5 USD, window: month}
  - {id: soft, limit: 5 USD, window: month, on_exceed: warn}
  - {id: fast, limit: 5 USD, window: {rolling: 90d}}
  - {id: session, per: [session], limit: 5 USD, window: {idle: 30m}}
"""
MONTH, ENDS_NS = period(Window(every="month"), time.time_ns())
_ROLLING, _ = periods(Window(every="rolling", seconds=90 * 86_400), time.time_ns())
_names = count()


def account(budget_id: str, when: str = MONTH, scope: str = "") -> Account:
    return Account(budget_id=budget_id, scope=scope, period=when, limit=_LIMIT)


ORG = account("org")


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningServer]]:
    home = tmp_path_factory.mktemp("exceeded")
    where = f"sqlite:{home / 'server.db'}"
    with running_server(where) as one, running_server(where) as other:
        yield [one, other]


class Host:
    """A host of a tenant of its own."""

    def __init__(self, server: RunningServer, rules: str = _RULES) -> None:
        self.server = server
        self.key = server.make_key(f"tenant{next(_names)}")
        self.puts(rules)

    def puts(self, rules: str) -> None:
        answer = self.server.ask("PUT", "/v1/rules", key=self.key, data=rules.encode())
        assert answer.status in (200, 201), answer.body

    def spends(self, *spent: tuple[Account, int]) -> None:
        """Settle a call with the authority, as a host's books do."""
        charges = [
            {"budget_id": one.budget_id, "scope": one.scope, "period": one.period,
             "posted": str(posted)}
            for one, posted in spent
        ]  # fmt: skip
        asked = {"settlements": [{"call_id": new_id(), "charges": charges}]}
        answer = self.server.ask("POST", "/v1/leases/settle", key=self.key, body=asked)
        assert answer.status == 200, answer.body

    def sends(self, *touched: Account, to: RunningServer | None = None) -> list[dict[str, Any]]:
        """Send the event of a call that touched accounts; return what is used up."""
        made = event(new_id(), *(charge(one, posted=1) for one in touched), cost=0)
        made = msgspec.structs.replace(
            made, call=msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
        )
        answer = (to or self.server).ask(
            "POST", "/v1/events", key=self.key, data=b"[%b]" % encode_cloud_event(made),
            headers={"Content-Type": "application/cloudevents-batch+json"},
        )  # fmt: skip
        assert [one["status"] for one in answer.json["results"]] == ["accepted"], answer.body
        found: list[dict[str, Any]] = answer.json["exceeded"]
        return found


def test_an_account_is_told_once_it_is_used_up_whatever_a_batch_touches(
    replicas: list[RunningServer],
) -> None:
    host = Host(replicas[0])
    host.spends((ORG, _LIMIT - 1))
    assert host.sends(ORG) == []
    host.spends((ORG, 1))
    told = host.sends(ORG)
    assert told == [
        {
            "budget_id": "org", "scope": "", "period": MONTH, "unit": "usd",
            "limit": str(_LIMIT), "spent": str(_LIMIT), "held": "0",
            "resets_at": told[0]["resets_at"],
        }
    ]  # fmt: skip
    assert told[0]["resets_at"].endswith("-01T00:00:00Z")
    assert host.sends() == told
    assert host.sends(to=replicas[1]) == told
    assert Host(replicas[0]).sends(ORG) == []


def test_limits_that_are_raised_free_an_account_at_once(replicas: list[RunningServer]) -> None:
    host = Host(replicas[0])
    host.spends((ORG, _LIMIT))
    assert len(host.sends(ORG)) == 1
    host.puts(_RULES.replace("{id: org, limit: 5", "{id: org, limit: 6"))
    assert host.sends() == []
    host.spends((ORG, 2 * _LIMIT))
    assert [one["spent"] for one in host.sends(ORG)] == [str(3 * _LIMIT)]


def test_only_what_would_refuse_now_is_told(replicas: list[RunningServer]) -> None:
    host = Host(replicas[0])
    idle = account("session", f"idle:1800s/{time.time_ns() // 1_000:016d}", '{"session":"s"}')
    rolling = account("fast", _ROLLING[2])
    not_told = (
        account("soft"), account("org", "2020-01"), account("org", f"{MONTH}+allowance"),
        account("nobodys"), account("session", "idle:1s/1", "[1]"), account("org", "x/y"),
    )  # fmt: skip
    for one in (idle, rolling, *not_told):
        host.spends((one, 2 * _LIMIT))
    told = host.sends(idle, rolling, *not_told)
    assert [(one["budget_id"], one["period"]) for one in told] == [
        ("session", idle.period),
        ("fast", rolling.period),
    ]
    assert told[0]["resets_at"] is None
    assert told[0]["scope"] == '{"session":"s"}'


def test_what_hosts_have_leased_is_theirs_to_use(replicas: list[RunningServer]) -> None:
    host = Host(replicas[0])
    words = {"budget_id": "org", "period": MONTH, "limit": str(_LIMIT)}
    asked = {
        "lease": {"holder": "h"},
        "wants": [{"account": words, "need": str(_LIMIT), "wish": str(_LIMIT), "known": "0"}],
    }
    answer = host.server.ask("POST", "/v1/leases/grant", key=host.key, body=asked)
    assert answer.status == 200, answer.body
    assert host.sends(ORG) == []


def test_a_tenant_without_rules_is_told_nothing(replicas: list[RunningServer]) -> None:
    key = replicas[0].make_key(f"tenant{next(_names)}")
    answer = replicas[0].ask("POST", "/v1/events", key=key, data=b"[]")
    assert "exceeded" not in answer.json


def test_a_host_flags_what_its_server_tells(replicas: list[RunningServer], tmp_path: Path) -> None:
    host = Host(replicas[0])
    host.spends((ORG, _LIMIT))
    with closing(SQLiteLedger(tmp_path)) as ledger:
        made = event(new_id(), charge(ORG, posted=1), cost=0)
        ledger.post(
            msgspec.structs.replace(
                made, call=msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
            ),
            None,
        )
        heeder = Heeder(ledger.home, host.server.url)
        assert Shipper(ledger, host.server.url, host.key, heeder=heeder).ship() == 1
        flags = heeder.look()
    assert flags is not None
    (flag,) = flags.values()
    assert list(flags) == [("org", "", MONTH, "usd")]
    assert isinstance(flag, Flag)
    assert (flag.limit, flag.spent) == (_LIMIT, _LIMIT)
    assert flag.resets_at is not None
    assert flag.resets_at.timestamp() == ENDS_NS // 10**9
