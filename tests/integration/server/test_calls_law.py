"""The law for calls over HTTP: whatever two servers are asked, in any order, it holds."""

from __future__ import annotations

import contextlib
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.server.test_calls_left import Replica
from tollspan.budget import LeaseSettings
from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import CentralLedger, EventQuery
from tollspan.server.calls.questions import AuthorizeQuestion, CallEndQuestion, UsageWords
from tollspan.server.problems import ProblemError
from tollspan.usage import UsageEvent

_LIMIT = 200_000
_RULES = "version: 1\nbudgets: [{id: all, limit: 0.0002 USD, window: month}]\n"
_HOLD_SECONDS = 60
_DAY_NS = 86_400 * 10**9


class Step(NamedTuple):
    """What one of two servers is asked of one of a few calls; or time passes."""

    server: int
    call: int
    what: Literal["authorize", "settle", "unknown", "cancel", "not_billed", "wait", "finish"]
    tokens: int


_STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 1),
        st.integers(0, 3),
        st.sampled_from(
            [
                "authorize",
                "authorize",
                "settle",
                "settle",
                "unknown",
                "cancel",
                "not_billed",
                "wait",
                "finish",
            ]
        ),
        st.integers(0, 100),
    ),
    min_size=8,
    max_size=18,
)


def end(step: Step) -> CallEndQuestion:
    if step.what == "cancel":
        return CallEndQuestion(call_id=f"c{step.call}", cancel=True)
    if step.what == "not_billed":
        return CallEndQuestion(call_id=f"c{step.call}", not_billed=True, outcome="error")
    usage = UsageWords(input_uncached=step.tokens, output=step.tokens)
    return CallEndQuestion(call_id=f"c{step.call}", usage=None if step.what == "unknown" else usage)


@given(_STEPS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_in_whatever_order_two_servers_are_asked_nothing_is_overspent(steps: list[Step]) -> None:
    now = time.time_ns()
    with (
        tempfile.TemporaryDirectory() as home,
        closing(CentralLedger(f"sqlite:{Path(home) / 'server.db'}")) as ledger,
        closing(TenantAuthorities("memory:", LeaseSettings(), clock=lambda: now)) as authorities,
    ):
        ledger.tenants.create("acme", actor="test")
        ledger.rules.put("acme", _RULES, actor="test")
        servers = [Replica(ledger, authorities) for _ in range(2)]
        allowed: set[str] = set()
        for step in steps:
            server = servers[step.server]
            if step.what == "authorize":
                asked = AuthorizeQuestion(
                    call_id=f"c{step.call}", provider="openai", model="gpt-4o-mini",
                    max_input_tokens=100, max_output_tokens=100 + step.call,
                )  # fmt: skip
                said = msgspec.json.decode(server.authorizer.authorize("acme", asked))
                if said["decision"] != "deny":
                    allowed.add(said["call_id"])
            elif step.what == "wait":
                now += (_HOLD_SECONDS + 1) * 10**9 if step.tokens % 2 else 2 * _DAY_NS
                authorities.of("acme").expire()
            elif step.what == "finish":
                server.ends.finish_some()
            else:
                with contextlib.suppress(ProblemError):  # unknown, refused, or told otherwise
                    server.ends.settle("acme", end(step))
            check(ledger, authorities, allowed)


def check(ledger: CentralLedger, authorities: TenantAuthorities, allowed: set[str]) -> None:
    """See that the sums are within the limit, and not below what is stored as spent."""
    facts = [one.fact for one in ledger.reader.events("acme", EventQuery(most=1_000))]
    events = [one for one in facts if isinstance(one, UsageEvent)]
    assert {one.call.id for one in events} <= allowed
    assert len({one.call.id for one in events}) == len(events)
    spent = sum(one.cost.amount_nanousd or 0 for one in events)
    balances = authorities.of("acme").accounts("", 10).balances
    assert len(balances) <= 1
    for one in balances:
        assert min(one.posted, one.held, one.unresolved) >= 0
        assert one.counted <= _LIMIT
        assert one.posted >= spent
