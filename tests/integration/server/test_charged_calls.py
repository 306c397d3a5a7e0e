"""Calls that nobody asked for here charge budgets all the same, once, whoever tells of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.authority.making import Holder
from tests.contract.ledger.making import account, event, new_id
from tests.e2e.waiting import wait_until
from tests.serving import RunningServer, running_server
from tests.unit.server.otlp.bodies import CHAT, json_body, span
from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import CentralLedger, DueCharge, EventQuery
from tollspan.usage import (
    Attribution,
    Charge,
    DecisionEvent,
    UsageEvent,
    encode_cloud_event,
)

JSON = {"Content-Type": "application/json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
OF_SPAN = 3 * 150 + 5 * 75 + 11 * 600
_RULES = """
version: 1
budgets:
  - {id: org, limit: 0.00001 USD, window: month, warn_at: [0.5]}
  - {id: of-each, per: [customer], limit: 1 USD, window: day}
  - {id: calls, limit: 100 calls, window: month}
  - {id: sessions, per: [session], limit: 1 USD, window: {idle: 30m}}
"""
_names = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path_factory.mktemp('server') / 'central.db'}") as running:
        yield running


class Tenant:
    """One with rules, and hosts that go by other authorities than the server."""

    def __init__(self, server: RunningServer, rules: str = _RULES) -> None:
        self.server = server
        self.name = f"tenant{next(_names)}"
        self.key = server.make_key(self.name)
        answer = self.ask("PUT", "/v1/rules", data=rules.encode())
        assert answer.status == 201, answer.body

    def ask(self, method: str, path: str, **more: Any) -> Any:
        return self.server.ask(method, path, key=self.key, **more)

    def tells(self, *spans: dict[str, Any]) -> None:
        answer = self.ask("POST", "/v1/traces", data=json_body(*spans), headers=JSON)
        assert (answer.status, answer.body) == (200, b"{}")

    def sends(self, *events: UsageEvent) -> list[dict[str, Any]]:
        """Send events; return what is told to be used up."""
        body = b"[%b]" % b",".join(map(encode_cloud_event, events))
        answer = self.ask("POST", "/v1/events", data=body, headers=BATCH)
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json["exceeded"]
        return found

    def posted(self) -> dict[tuple[str, str], int]:
        """What is posted in each budget, by whose part it is; nothing is held or unresolved."""
        rows = self.ask("GET", "/v1/budgets").json["budgets"]
        assert {(one["held"], one["unresolved"]) for one in rows} <= {("0", "0")}
        return {
            (one["budget"], str(next(iter(one["scope"].values()), ""))): int(one["posted"])
            for one in rows
            if int(one["posted"])
        }

    def has(self, **posted: int) -> None:
        """Wait until undivided budgets have so much posted."""
        wanted = {(name, ""): amount for name, amount in posted.items()}
        wait_until(lambda: wanted.items() <= self.posted().items())


def a_span(number: int, **said: str) -> dict[str, Any]:
    started = time.time_ns() - 2 * 10**9
    attributes = {**CHAT, **{key.replace("__", "."): value for key, value in said.items()}}
    return span(
        number,
        startTimeUnixNano=str(started),
        endTimeUnixNano=str(started + 10**9),
        attributes=attributes,
    )


def an_event(
    cost: int = 1_000, lease_id: str | None = None, customer: str | None = None
) -> UsageEvent:
    made = event(new_id(), cost=cost)
    replace = msgspec.structs.replace
    call = replace(
        made.call, started_at_unix_ns=time.time_ns(), attribution=Attribution(customer=customer)
    )
    return replace(made, call=call, lease_id=lease_id)


def test_calls_that_spans_tell_of_charge_every_budget_once(server: RunningServer) -> None:
    tenant = Tenant(server)
    told = [a_span(1, session__id="s"), a_span(2, session__id="s")]
    for _ in range(2):
        tenant.tells(*told)
    tenant.has(org=2 * OF_SPAN, calls=2)
    assert tenant.posted() == {
        ("org", ""): 2 * OF_SPAN,
        ("of-each", "None"): 2 * OF_SPAN,
        ("calls", ""): 2,
        ("sessions", "s"): 2 * OF_SPAN,
    }
    stored = [one.fact for one in server.ledger.reader.events(tenant.name, EventQuery(most=9))]
    usage = [one for one in stored if isinstance(one, UsageEvent)]
    assert [len(one.charges) for one in usage] == [4, 4]


def test_hosts_are_told_what_others_have_used_up_and_who_asks_is_refused(
    server: RunningServer,
) -> None:
    tenant = Tenant(server)
    tenant.tells(a_span(1), a_span(2))
    tenant.has(org=2 * OF_SPAN)
    wait_until(lambda: [one["budget_id"] for one in tenant.sends()] == ["org"])
    asked = {"provider": "openai", "model": "gpt-4o-mini", "max_input_tokens": 1,
             "max_output_tokens": 1}  # fmt: skip
    answer = tenant.ask("POST", "/v1/authorize", body=asked).json
    assert (answer["decision"], answer["denial"]["rule_id"]) == ("deny", "org")


def test_budgets_that_run_low_by_what_nobody_asked_for_are_told(server: RunningServer) -> None:
    tenant = Tenant(server)
    tenant.tells(a_span(1))

    def warned() -> list[tuple[str, str | None]]:
        found = [one.fact for one in server.ledger.reader.events(tenant.name, EventQuery(most=9))]
        told = [one for one in found if isinstance(one, DecisionEvent)]
        return [
            (one.decision.rule_ids[0], None if one.warning is None else one.warning.share)
            for one in told
        ]

    wait_until(lambda: warned() == [("org", "0.5")])


def test_events_of_a_host_with_an_authority_of_its_own_are_charged(server: RunningServer) -> None:
    tenant = Tenant(server)
    events = [an_event(customer="ann"), an_event(lease_id="its-own/1", customer="bob")]
    for _ in range(2):
        tenant.sends(*events)
    tenant.has(org=2_000, calls=2)
    assert tenant.posted()["of-each", "ann"] == tenant.posted()["of-each", "bob"] == 1_000


def test_what_a_host_settles_here_is_charged_by_it_alone(server: RunningServer) -> None:
    tenant = Tenant(server)
    period = tenant.ask("GET", "/v1/budgets?budget=org").json["budgets"][0]["period"]
    account = {"budget_id": "org", "period": period, "limit": "10000"}
    grant = {
        "lease": {"holder": tenant.name},
        "wants": [{"account": account, "need": "3000", "wish": "3000", "known": "0"}],
    }
    assert tenant.ask("POST", "/v1/leases/grant", body=grant).status == 200
    event = an_event(lease_id=f"{tenant.name}/1")
    tenant.sends(event)
    tenant.sends(an_event(cost=10))
    wait_until(lambda: not server.ledger.charges_due.has_some())
    charge = {"budget_id": "org", "period": period, "posted": "1000"}
    settled = {"call_id": event.call.id, "lease_id": event.lease_id, "charges": [charge]}
    asked = {"settlements": [settled]}
    assert tenant.ask("POST", "/v1/leases/settle", body=asked).status == 200
    (org,) = tenant.ask("GET", "/v1/budgets?budget=org").json["budgets"]
    assert (org["posted"], org["held"]) == ("1010", "2000")


def test_what_a_span_told_is_taken_back_once_its_own_event_comes(server: RunningServer) -> None:
    tenant = Tenant(server)
    told = a_span(1)
    tenant.tells(told)
    tenant.has(org=OF_SPAN)
    made = an_event(cost=7_000)
    tenant.sends(
        msgspec.structs.replace(made, traceparent=f"00-{told['traceId']}-{told['spanId']}-01")
    )
    tenant.has(org=7_000, calls=1)
    tenant.tells(told)
    wait_until(lambda: not server.ledger.charges_due.has_some())
    tenant.has(org=7_000, calls=1)


def test_without_rules_nothing_is_charged(server: RunningServer) -> None:
    key = server.make_key(f"tenant{next(_names)}")
    body = json_body(a_span(1))
    assert server.ask("POST", "/v1/traces", key=key, data=body, headers=JSON).status == 200
    assert not server.ledger.charges_due.has_some()


def test_what_a_server_has_left_the_next_one_charges(tmp_path: Path) -> None:
    where = f"sqlite:{tmp_path / 'central.db'}"
    with running_server(where) as server:
        tenant = Tenant(server)
        key = tenant.key
        period = tenant.ask("GET", "/v1/budgets?budget=org").json["budgets"][0]["period"]
    made = an_event()
    due = DueCharge(
        tenant=tenant.name,
        name=made.call.id,
        place=(made.call.started_at_unix_ns, made.call.id),
        charges=(Charge(budget_id="org", period=period, posted=5),),
    )
    with closing(CentralLedger(where)) as ledger:
        ledger.events.store(tenant.name, [made], {made.call.id: due})
        assert len(ledger.charges_due.begin(10)) == 1  # and is killed
    with running_server(where) as server:

        def posted() -> str:
            (found,) = server.ask("GET", "/v1/budgets?budget=org", key=key).json["budgets"]
            return str(found["posted"])

        wait_until(lambda: posted() == "5")


def of_calendars(tenant: Tenant) -> dict[tuple[str, str], int]:
    """What is posted in budgets whose periods the lost authority did not name."""
    return {name: posted for name, posted in tenant.posted().items() if name[0] != "sessions"}


def test_an_authority_that_has_lost_all_is_told_again_before_it_opens(tmp_path: Path) -> None:
    where = f"sqlite:{tmp_path / 'central.db'}"
    money = f"sqlite:{tmp_path / 'money.db'}"
    with running_server(where, authority=money) as server:
        tenant = Tenant(server)
        told = a_span(1)
        tenant.tells(told, a_span(2))
        tenant.has(org=2 * OF_SPAN)
        made = an_event(cost=7_000)
        traceparent = f"00-{told['traceId']}-{told['spanId']}-01"
        tenant.sends(msgspec.structs.replace(made, traceparent=traceparent), an_event(cost=20))
        tenant.has(org=OF_SPAN + 7_020, calls=3)
        before = of_calendars(tenant)
    for file in tmp_path.glob("money.db*"):
        file.unlink()
    with running_server(where, authority=money) as server:
        tenant.server = server
        assert tenant.posted() == {}
        asked = {"provider": "openai", "model": "gpt-4o-mini", "max_output_tokens": 1}
        assert tenant.ask("POST", "/v1/authorize", body=asked).json["decision"] == "deny"
        assert tenant.ask("POST", "/v1/leases/epoch").status == 200
        assert of_calendars(tenant) == before
        assert tenant.ask("POST", "/v1/leases/epoch").status == 200
        assert of_calendars(tenant) == before


def test_an_authority_of_any_kind_knows_the_leases_that_it_granted(
    authorities: TenantAuthorities,
) -> None:
    authority = authorities.of("lending")
    authority.open_epoch()
    holder = Holder(authority)
    assert holder.has(account("b", limit=100), 30) == 30
    ids = [holder.lease.id, "nobodys/1"]
    assert authority.known_leases(ids) == {holder.lease.id}
    beside = authorities.of("lending.beside")
    beside.open_epoch()
    assert beside.known_leases(ids) == frozenset()
    holder.gives(account("b", limit=100), 30, is_last=True)
    assert authority.known_leases(ids) == {holder.lease.id}
    assert authority.known_leases([]) == frozenset()
