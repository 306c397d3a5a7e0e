"""Calls that only other people's spans tell of: asked for, metered once, priced, or left to us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.integration.foreign.programs import run
from tollspan.ledger import LEDGER_FILE, LedgerReader

# Counts of these sum up to the providers' own bills.
REPLY = Reply(cached_tokens=5, reasoning_tokens=3)
OPENAI = ("openai chat", "openai stream", "openai async", "openai responses", "openai embeddings")
ANTHROPIC = ("anthropic messages", "anthropic stream")
ROOM = "{id: all, limit: 100 USD}, {id: calls, limit: 100 calls}"
NO_ROOM = "{id: all, limit: 0 USD}"
LANGCHAIN = ("langchain invoke", "langchain stream", "langchain async")
OVER_LANGCHAIN = ["langchain, official", "langchain, openllmetry", "langchain, openinference"]


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(REPLY) as fake:
        yield fake


@pytest.fixture
def anthropic() -> Iterator[FakeAnthropic]:
    with FakeAnthropic(Reply(cached_tokens=4)) as fake:
        yield fake


@pytest.mark.parametrize("family", ["official", "openllmetry", "openinference"])
def test_calls_of_openai_that_only_spans_tell_of_are_priced_to_the_nano_usd(
    tmp_path: Path, openai: FakeOpenAI, family: str
) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    assert run(tmp_path, openai.base_url, *OPENAI, families=(family,)) == ["ok"] * 5
    events = harness.usage_events(tmp_path)
    assert [event.call.door for event in events] == ["processor"] * 5
    assert [event.outcome.status for event in events] == ["ok"] * 5
    assert {event.call.request.provider for event in events} == {"openai"}
    balance = harness.balance(tmp_path)
    assert (balance.posted, balance.held, balance.unresolved) == (openai.billed_nanousd, 0, 0)
    assert harness.balance(tmp_path, "calls").posted == 5


@pytest.mark.parametrize("family", ["official", "openllmetry", "openinference", "native"])
def test_calls_of_anthropic_that_only_spans_tell_of_are_priced_once(
    tmp_path: Path, anthropic: FakeAnthropic, family: str
) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    assert run(tmp_path, anthropic.base_url, *ANTHROPIC, families=(family,)) == ["ok"] * 2
    events = harness.usage_events(tmp_path)
    assert len(events) == 2
    balance = harness.balance(tmp_path)
    assert (balance.posted, balance.held, balance.unresolved) == (anthropic.billed_nanousd, 0, 0)


def test_three_instrumentors_of_one_call_are_one_call(tmp_path: Path, openai: FakeOpenAI) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    families = ("official", "openllmetry", "openinference")
    assert run(tmp_path, openai.base_url, *OPENAI, families=families) == ["ok"] * 5
    assert len(harness.usage_events(tmp_path)) == 5
    assert harness.balance(tmp_path).posted == openai.billed_nanousd


@pytest.mark.parametrize(
    "families",
    [
        ("official",),
        ("openllmetry",),
        ("openinference",),
        ("official", "openllmetry", "openinference"),
    ],
    ids="+".join,
)
def test_what_our_own_hooks_see_is_theirs_alone(
    tmp_path: Path, openai: FakeOpenAI, families: tuple[str, ...]
) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    assert run(tmp_path, openai.base_url, *OPENAI, families=families, hooks=True) == ["ok"] * 5
    events = harness.usage_events(tmp_path)
    assert [event.call.door for event in events] == ["instrumentor"] * 5
    assert harness.balance(tmp_path).posted == openai.billed_nanousd


def test_calls_that_only_spans_tell_of_go_by_the_traces_of_these(
    tmp_path: Path, openai: FakeOpenAI
) -> None:
    harness.write_rules(tmp_path, budgets="{id: each, limit: 1 call, window: trace}")
    assert run(tmp_path, openai.base_url, *OPENAI) == ["ok"] * 5
    for event in harness.usage_events(tmp_path):
        assert event.traceparent is not None
        assert event.charges[0].period == event.traceparent.split("-")[1]


def test_a_span_whose_call_is_refused_stops_the_call_where_its_instrumentor_lets_it(
    tmp_path: Path, openai: FakeOpenAI
) -> None:
    harness.write_rules(tmp_path, budgets=NO_ROOM)
    assert run(tmp_path, openai.base_url, *OPENAI) == ["BudgetExceededError"] * 5
    assert openai.hits == 0
    denials = harness.denials(tmp_path)
    assert [denial.error_type for denial in denials] == ["tollspan.budget_exceeded"] * 5
    assert harness.usage_events(tmp_path) == []


def test_a_call_that_goes_on_although_its_span_was_refused_is_paid_for_and_told(
    tmp_path: Path, openai: FakeOpenAI
) -> None:
    harness.write_rules(tmp_path, budgets=NO_ROOM)
    said = run(tmp_path, openai.base_url, "openai chat", families=("openinference",))
    assert said == ["ok"]  # it swallows what processors raise
    (event,) = harness.usage_events(tmp_path)
    assert (event.decision.action, event.decision.rule_ids) == ("shadow", ("all",))
    assert harness.balance(tmp_path).posted == openai.billed_nanousd
    assert harness.denials(tmp_path) == []
    seen = LedgerReader(tmp_path / LEDGER_FILE).sightings()
    assert ("not_enforced", "OpenInference, OpenAI") in {(one.kind, one.name) for one in seen}


def test_calls_side_by_side_that_use_the_same_are_all_counted(
    tmp_path: Path, openai: FakeOpenAI
) -> None:
    openai.script.default = Reply(cached_tokens=5, latency_seconds=0.3)
    harness.write_rules(tmp_path, budgets=ROOM)
    said = run(tmp_path, openai.base_url, "openai side by side", families=("openinference",))
    assert said == ["ok"]
    assert len(harness.usage_events(tmp_path)) == 8
    assert harness.balance(tmp_path).posted == openai.billed_nanousd


@pytest.mark.parametrize("sampled", [0.0, 0.5])
def test_sampling_opens_no_gate(tmp_path: Path, openai: FakeOpenAI, sampled: float) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    calls = ("openai chat", "openai stream") * 3
    assert run(tmp_path, openai.base_url, *calls, sampled=sampled) == ["ok"] * 6
    assert len(harness.usage_events(tmp_path)) == 6
    assert harness.balance(tmp_path).posted == openai.billed_nanousd


@pytest.mark.parametrize(
    ("setting", "said", "events"),
    [("meter", "ok", 1), ("off", "ok", 0), ("gate", "BudgetExceededError", 0)],
)
def test_the_door_can_be_told_to_meter_only_or_to_leave_spans_alone(
    tmp_path: Path, openai: FakeOpenAI, setting: str, said: str, events: int
) -> None:
    harness.write_rules(tmp_path, budgets=NO_ROOM)
    went = run(tmp_path, openai.base_url, "openai chat", TOLLSPAN_FOREIGN_SPANS=setting)
    assert went == [said]
    assert len(harness.usage_events(tmp_path)) == events


@pytest.mark.parametrize("family", OVER_LANGCHAIN)
@pytest.mark.parametrize("beside", [(), ("official",)], ids=["alone", "over the official one"])
def test_a_frameworks_spans_are_metered_once_each(
    tmp_path: Path, openai: FakeOpenAI, family: str, beside: tuple[str, ...]
) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    said = run(tmp_path, openai.base_url, *LANGCHAIN, families=(family, *beside))
    assert said == ["ok"] * 3
    events = harness.usage_events(tmp_path)
    assert len(events) == 3
    assert {event.call.door for event in events} == {"processor"}
    assert all(event.usage is not None for event in events)
    assert harness.balance(tmp_path).posted == sum(e.cost.amount_nanousd or 0 for e in events) > 0


@pytest.mark.parametrize("family", OVER_LANGCHAIN)
def test_a_frameworks_spans_over_our_own_hooks_count_nothing(
    tmp_path: Path, openai: FakeOpenAI, family: str
) -> None:
    harness.write_rules(tmp_path, budgets=ROOM)
    said = run(tmp_path, openai.base_url, *LANGCHAIN, families=(family,), hooks=True)
    assert said == ["ok"] * 3
    events = harness.usage_events(tmp_path)
    assert [event.call.door for event in events] == ["instrumentor"] * 3
    assert harness.balance(tmp_path).posted == openai.billed_nanousd


@pytest.mark.parametrize("family", OVER_LANGCHAIN)
def test_a_framework_over_a_refusing_gate_counts_the_refusal_alone(
    tmp_path: Path, openai: FakeOpenAI, family: str
) -> None:
    harness.write_rules(tmp_path, budgets=NO_ROOM)
    said = run(tmp_path, openai.base_url, *LANGCHAIN, families=(family,), hooks=True)
    assert said == ["BudgetExceededError"] * 3
    assert openai.hits == 0
    assert harness.usage_events(tmp_path) == []
    assert len(harness.denials(tmp_path)) == 3
