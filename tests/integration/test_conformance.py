"""What arrives at an OTLP endpoint is as the conventions have it: spans, metrics and log events."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.conformance import program
from tests.conformance.checker import check_logs, check_metrics, check_spans, never_told
from tests.conformance.registry import EMBEDDINGS, INFERENCE, METRIC_TYPES
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver

BIN = Path(sys.executable).parent
APP = [sys.executable, str(Path(program.__file__))]
RUN = [str(BIN / "tollspan"), "run", *APP]
OTEL = [str(BIN / "opentelemetry-instrument"), *APP]
OTHERS_OFF = {
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": harness.OTHERS,
    "ANTHROPIC_OPEN_TELEMETRY": "false",
}
# What we know to be otherwise than the tables. A gap that is gone fails the test: take it out.
GAPS = {
    # The conventions have no operation for it, and allow one's own.
    "moderation is no operation of the conventions",
}
NOT_TOLD = {
    # 80 bytecodes a call, for a value that OpenAI's reference calls deprecated.
    "openai.response.system_fingerprint",
    # What the operation and the provider say already, for 70 bytecodes a call.
    "openai.api.type",
}
# Not in this program: nobody is named who pays, and nothing is asked of a model that hears or sees.
NOT_ASKED = {name for name in INFERENCE.attributes if ".audio." in name or ".image." in name}
NOT_ASKED |= {name for name in INFERENCE.attributes if ".text." in name or ".video." in name}


class Seen(msgspec.Struct):
    """What arrived, and what the ledger has."""

    receiver: OtlpReceiver
    home: Path


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, str]]:
    """Serve both providers; return the settings that lead there."""
    reply = Reply(output_tokens=40, reasoning_tokens=7, cached_tokens=5, cache_write_tokens=2)
    with FakeOpenAI(reply) as gpt, FakeAnthropic(reply) as claude:
        yield {
            "OPENAI_BASE_URL": gpt.base_url,
            "ANTHROPIC_BASE_URL": claude.base_url,
            "ANTHROPIC_API_KEY": "sk-ant-test",
        }


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((RUN, {"ANTHROPIC_OPEN_TELEMETRY": "false"}), id="tollspan run"),
        pytest.param((OTEL, OTHERS_OFF), id="opentelemetry-instrument"),
    ],
)
def seen(
    request: pytest.FixtureRequest,
    providers: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Seen]:
    """Run the program once each way, and keep what arrives."""
    command, env = request.param
    home = tmp_path_factory.mktemp("home")
    hosts = {
        providers[f"{name}_BASE_URL"].split("/")[2]: name.lower()
        for name in ("OPENAI", "ANTHROPIC")
    }
    harness.write_rules(home, budgets="{id: all, limit: 1 USD, window: year}", hosts=hosts)
    with OtlpReceiver() as receiver:
        settings = {**providers, **receiver.environment, **env, "OTEL_SERVICE_NAME": "checkout"}
        environment = harness.environment(home, settings.pop("OPENAI_BASE_URL"), **settings)
        done: subprocess.CompletedProcess[str] = harness.run(command, environment)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        yield Seen(receiver, home)


def test_every_call_is_a_span_and_no_span_deviates(seen: Seen) -> None:
    spans = seen.receiver.spans
    calls = len(harness.usage_events(seen.home)) + len(harness.denials(seen.home))
    assert calls == len(spans) == 32
    assert check_spans(spans) == GAPS
    assert {span.resource["service.name"] for span in spans} == {"checkout"}


def test_what_can_be_told_is_told(seen: Seen) -> None:
    missing = never_told(seen.receiver.spans, INFERENCE)
    assert missing == NOT_TOLD | NOT_ASKED
    assert never_told(seen.receiver.spans, EMBEDDINGS) == NOT_TOLD | {
        "openai.request.service_tier",  # it has none
        "openai.response.service_tier",
    }


def test_no_metric_deviates_and_none_is_missing(seen: Seen) -> None:
    metrics = seen.receiver.newest_metrics()
    ours = [metric for metric in metrics.values() if metric.scope == "tollspan"]
    assert check_metrics(ours) == set()
    # Nothing failed, nothing was without a price, no MCP server was asked, nobody leases or ships.
    absent = {
        "tollspan.internal.errors",
        "mcp.client.operation.duration",
        "tollspan.unpriced_calls",
        "tollspan.overruns",
        "tollspan.settling.events",
        *(
            name
            for name in METRIC_TYPES
            if name.startswith(("tollspan.lease.", "tollspan.shipping."))
        ),
    }
    assert {metric.name for metric in ours} == set(METRIC_TYPES) - absent


def test_metrics_say_what_the_ledger_says(seen: Seen) -> None:
    events = harness.usage_events(seen.home)
    denials = harness.denials(seen.home)
    metrics = seen.receiver.newest_metrics()
    points = {name: metric.points for name, metric in metrics.items()}
    counted = {
        name: sum(one.count for one in points[name])
        for name in ("gen_ai.client.operation.duration", "gen_ai.execute_tool.duration")
    }
    assert list(counted.values()) == [len(events) - 2, 2]
    decisions = {
        action: sum(
            one.value
            for one in points["tollspan.decisions"]
            if one.attributes["tollspan.decision"] == action
        )
        for action in ("allow", "deny")
    }
    assert decisions == {"allow": len(events), "deny": len(denials)}
    spent = sum(event.cost.amount_nanousd or 0 for event in events) / 1e9
    assert sum(one.value for one in points["tollspan.cost"]) == pytest.approx(spent)
    balance = harness.balance(seen.home)
    (limit,) = points["tollspan.budget.limit"]
    assert limit.attributes == {"tollspan.budget.id": "all", "tollspan.budget.unit": "USD"}
    assert limit.value == 1
    assert points["tollspan.budget.spent"][0].value == balance.posted / 1e9
    assert points["tollspan.budget.held"][0].value == balance.unresolved / 1e9
    assert points["tollspan.budget.remaining"][0].value == pytest.approx(
        1 - (balance.posted + balance.unresolved) / 1e9
    )
    assert points["tollspan.outbox.events"][0].value == 0
    streams = [event for event in events if event.outcome.first_chunk_ns is not None]
    first = points["gen_ai.client.operation.time_to_first_chunk"]
    assert sum(one.count for one in first) == len(streams)
    following = points["gen_ai.client.operation.time_per_output_chunk"]
    assert sum(one.count for one in following) > 40
    free = sum(event.call.request.operation == "moderation" for event in events)
    gate = points["tollspan.gate.duration"]
    assert sum(one.count for one in gate) == len(events) - free + len(denials)
    assert all(0 < one.value / one.count < 1 for one in gate)


def test_denials_are_log_events_in_the_context_of_their_spans(seen: Seen) -> None:
    ours = [log for log in seen.receiver.logs if log.scope == "tollspan"]
    assert check_logs(ours) == set()
    denied = {
        span.attributes["tollspan.call.id"]: span
        for span in seen.receiver.spans
        if span.attributes["tollspan.decision"] == "deny"
    }
    # A stream that was left early may have cost more than it told.
    warned = [log for log in ours if log.event_name == "tollspan.warning"]
    assert [log.attributes["tollspan.warning.reason"] for log in warned] == ["unresolved.call"]
    told = [log for log in ours if log.event_name == "tollspan.decision"]
    assert len(told) == len(denied) == 4
    for log in told:
        span = denied[log.attributes["tollspan.call.id"]]
        assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
        assert log.attributes["error.type"] == "tollspan.budget_exceeded"
        assert log.attributes["tollspan.rule.id"] == "all"
        assert log.attributes["tollspan.budget.limit"] == 1_000_000_000
        assert log.attributes["tollspan.budget.unit"] == "nanousd"
        assert program.PROMPT not in str(log.body)


def test_no_prompt_is_in_anything_that_arrived(seen: Seen) -> None:
    assert not [body for body in seen.receiver.bodies if b"heron" in body]
