"""Spans for which the processor's door held, and which a hook of ours marks before they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests import harness
from tests.e2e.waiting import wait_until
from tollspan import semconv
from tollspan.processor import Door, Held
from tollspan.usage import new_call_id

SCOPE = "opentelemetry.instrumentation.langchain"
CHAT: dict[str, str | int] = {
    semconv.GEN_AI_OPERATION_NAME: "chat",
    semconv.GEN_AI_PROVIDER_NAME: "ibm.watsonx.ai",
    semconv.GEN_AI_REQUEST_MODEL: "granite",
    semconv.GEN_AI_REQUEST_MAX_TOKENS: 100,
}
MARK: dict[str, str] = {
    semconv.TOLLSPAN_DECISION: "allow",
    semconv.TOLLSPAN_CALL_ID: new_call_id(0),
}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with harness.installed(tmp_path, budgets="{id: all, limit: 100 calls}") as installed:
        installed.ledger.open()
        installed.lifecycle.worker.start()
        yield installed.door


@pytest.fixture
def home(tmp_path: Path, door: Door) -> Path:
    return tmp_path


@pytest.fixture
def provider(home: Path) -> Iterator[TracerProvider]:
    """A program's own provider, which has the door in front of it."""
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> trace.Tracer:
    return provider.get_tracer(SCOPE)


def held(home: Path) -> int:
    """Return what is held in the one account."""
    return harness.balance(home).held


def test_what_a_hook_accounts_for_is_held_no_longer_than_its_span_lasts(
    home: Path, tracer: trace.Tracer
) -> None:
    span = tracer.start_span("chat", attributes=CHAT)
    assert held(home) > 0
    span.set_attributes(MARK)
    span.end()
    wait_until(lambda: held(home) == 0)
    assert harness.usage_events(home) == []
    assert harness.balance(home).unresolved == 0


def test_a_marked_span_within_leaves_the_call_to_the_span_around_it(
    home: Path, tracer: trace.Tracer
) -> None:
    outer = tracer.start_span("chat", attributes=CHAT)
    inner = tracer.start_span("chat", trace.set_span_in_context(outer), attributes=CHAT)
    before = held(home)
    inner.set_attributes(MARK)
    inner.end()
    assert held(home) == before > 0
    outer.set_attributes({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5})
    outer.end()
    wait_until(lambda: held(home) == 0)
    assert len(harness.usage_events(home)) == 1


def test_a_call_that_began_before_our_hooks_were_there_is_accounted_for_at_the_door(
    home: Path, door: Door, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(door, "_held", Held)
        tracer = provider.get_tracer("openinference.instrumentation.openai")
        span = tracer.start_span("chat", attributes=CHAT)
        assert held(home) == 1
    span.set_attributes({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5})
    span.end()
    wait_until(lambda: held(home) == 0)
    assert harness.balance(home).posted == 1
