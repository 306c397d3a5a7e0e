"""The agent: calls go to the ingest server, all spans to the trace backend, content to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.collector.backend import TraceBackend
from tests.collector.calls import COST_NANOUSD, PROMPT, SECRET, call
from tests.collector.running import Collector, started, tracing
from tests.e2e.ingest import ServeCommand, serving, total
from tests.e2e.waiting import wait_until
from tests.fakes.otlp_receiver import OtlpReceiver

pytestmark = pytest.mark.service

CONTENT = {
    "gen_ai.input.messages": PROMPT,
    "gen_ai.output.messages": PROMPT,
    "gen_ai.system_instructions": PROMPT,
    "gen_ai.tool.definitions": PROMPT,
    "gen_ai.tool.call.arguments": PROMPT,
    "gen_ai.prompt.0.content": PROMPT,
    "gen_ai.completion.0.content": PROMPT,
    "llm.input_messages.0.message.content": PROMPT,
    "llm.output_messages.0.message.content": PROMPT,
    "llm.prompt_template.template": PROMPT,
    "input.value": PROMPT,
    "output.value": PROMPT,
    "traceloop.entity.input": PROMPT,
    "traceloop.entity.output": PROMPT,
    "langfuse.observation.input": PROMPT,
    "langfuse.trace.output": PROMPT,
    "ai.prompt.messages": PROMPT,
    "ai.response.text": PROMPT,
    "ai.toolCall.args": PROMPT,
    "tool.parameters": PROMPT,
}
SECRETS = {
    "http.request.header.authorization": f"Bearer {SECRET}",
    "http.request.header.x-api-key": "whatever it looks like",
    "app.note": f"sent with {SECRET} today",
}


@contextmanager
def agent_before(
    folder: Path, endpoint: str, key: str = "none", **more: str
) -> Iterator[Collector]:
    """Run an agent before an ingest server."""
    said = {"TOLLSPAN_ENDPOINT": endpoint, "TOLLSPAN_API_KEY": key, **more}
    agent = Collector(folder / "agent", "agent", **said)
    with started(agent):
        yield agent


@contextmanager
def sent_to(server: ServeCommand, folder: Path) -> Iterator[tuple[Collector, str]]:
    """Run an agent before a real ingest server, with a key for it."""
    key = server.make_key()
    with agent_before(folder, server.url, key) as agent:
        yield agent, key


def calls(provider: TracerProvider, first: int, last: int) -> None:
    """Make calls of these numbers, and have their spans with the Collector."""
    for number in range(first, last):
        call(provider, number)
    assert provider.force_flush()


def test_calls_go_to_the_server_and_all_spans_to_the_backend_without_content(
    tmp_path: Path,
) -> None:
    with (
        OtlpReceiver() as ingest,
        TraceBackend() as backend,
        agent_before(tmp_path, ingest.endpoint, TRACES_ENDPOINT=backend.address) as agent,
    ):
        with tracing(agent.url) as provider:
            call(provider, 0, {**CONTENT, **SECRETS})
        wait_until(lambda: len(backend.spans) == 2 and len(ingest.spans) == 1)
    assert [span.name for span in ingest.spans] == ["chat gpt-4o-mini"]
    assert {span.name for span in backend.spans} == {"chat gpt-4o-mini", "GET /ask"}
    (seen, *_) = [span for span in backend.spans if span.name.startswith("chat")]
    assert [name for name, value in seen.attributes.items() if value == PROMPT] == []
    for body in (b"".join(ingest.bodies), backend.text):
        for secret in (PROMPT, SECRET, "whatever it looks like"):
            assert secret.encode() not in body
        for kept in ("gen_ai.usage.input_tokens", "chatcmpl-0", "app.note", "sent with "):
            assert kept.encode() in body


def test_a_call_is_in_the_ledger_once_whatever_is_killed_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, sent_to(server, tmp_path) as (agent, key):
        with tracing(agent.url) as provider:
            calls(provider, 0, 50)
            wait_until(lambda: total(server, key)[0] == 50)
            server.kill()
            calls(provider, 50, 100)
        agent.kill()
        agent.start()
        with tracing(agent.url) as provider:
            calls(provider, 100, 150)
        agent.restart()
        server.start()
        wait_until(lambda: total(server, key)[0] == 150, timeout_seconds=60)
        with tracing(agent.url) as provider:
            calls(provider, 150, 151)
        wait_until(lambda: total(server, key)[0] == 151)
        assert total(server, key) == (151, 151 * COST_NANOUSD)


def test_a_backend_that_is_away_holds_no_call_up(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, sent_to(server, tmp_path) as (agent, key):
        with tracing(agent.url) as provider:
            calls(provider, 0, 20)
        wait_until(lambda: total(server, key)[0] == 20)
        assert "otlp/traces" in agent.said
