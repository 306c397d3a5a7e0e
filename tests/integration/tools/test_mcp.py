"""Calls of tools at a real MCP server: gated, priced, one span, whatever the transport."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client, ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.fakes import mcp_server
from tests.integration.tools.stage import Stage, open_stage
from tollspan.api import BudgetExceededError, UnpricedModelError, tool

_T = TypeVar("_T")
Work = Callable[[Client], Awaitable[_T]]


class Server:
    """A server that is there to be asked, and what ran on it."""

    def __init__(self, where: Any, log: Path) -> None:
        self._where = where
        self._log = log

    def run(self, work: Work[_T], **options: Any) -> _T:
        """Run a scenario with a client of its own."""

        async def main() -> _T:
            where = self._where() if callable(self._where) else self._where
            async with Client(where, **options) as client:
                return await work(client)

        return asyncio.run(main())

    def ran(self) -> list[dict[str, Any]]:
        """Return each run of a tool: its name, and the trace context that came with it."""
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One server over HTTP for all tests."""
    log = tmp_path_factory.mktemp("mcp") / "log"
    with mcp_server.http_server(log) as url:
        yield url, log


@pytest.fixture(autouse=True)
def fresh_tracer(memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK's own spans go where this test looks: it keeps the first tracer that it got."""
    monkeypatch.setattr("mcp.shared._otel._tracer", trace.get_tracer("mcp-python-sdk"))


@pytest.fixture(params=["http", "memory"])
def server(request: pytest.FixtureRequest, http: tuple[str, Path], tmp_path: Path) -> Server:
    """A server over HTTP, and one in this process."""
    if request.param == "http":
        url, log = http
        log.unlink(missing_ok=True)
        return Server(url, log)
    log = tmp_path / "log"
    return Server(lambda: mcp_server.make_server(log), log)


def sent(stage: Stage) -> list[ReadableSpan]:
    """Return the spans of calls of tools on the client's side, whoever made them."""
    return [
        span for span in stage.spans() if span.kind is SpanKind.CLIENT and "tools/call" in span.name
    ]


def text(result: types.CallToolResult) -> str:
    """Return the text of an answer."""
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def add(client: Client) -> types.CallToolResult:
    return await client.call_tool("add", {"a": 1, "b": 2})


async def search(client: Client) -> types.CallToolResult:
    return await client.call_tool("search", {"query": "a secret"})


def test_a_call_is_priced_by_the_tools_name(stage: Stage, server: Server) -> None:
    assert text(server.run(search)) == "found a secret"
    event = stage.event()
    request = event.call.request
    assert (request.provider, request.operation, request.model) == (
        "tool",
        "execute_tool",
        "search",
    )
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", 250_000_000)
    assert (event.outcome.status, event.outcome.error_type) == ("ok", None)
    assert [run["tool"] for run in server.ran()] == ["search"]


def test_a_call_has_one_span_and_its_context_reaches_the_server(
    stage: Stage, server: Server
) -> None:
    with trace.get_tracer("test").start_as_current_span("agent") as agent:
        server.run(search)
    (span,) = sent(stage)
    event = stage.event()
    assert (span.name, span.kind) == ("tools/call search", SpanKind.CLIENT)
    assert span.attributes is not None
    attributes = dict(span.attributes)
    assert attributes.pop("mcp.protocol.version") == "2026-07-28"
    for name in ("jsonrpc.request.id", "server.address", "server.port", "network.transport"):
        attributes.pop(name, None)
    assert attributes == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "tollspan.mcp.server.name": mcp_server.NAME,
        "tollspan.call.id": event.call.id,
        "tollspan.decision": "allow",
        "tollspan.cost.status": "priced",
        "tollspan.cost.nanousd": 250_000_000,
        "tollspan.cost.usd": 0.25,
        "tollspan.usage.status": "reported",
    }
    assert "a secret" not in span.to_json()
    assert span.parent is not None
    assert span.parent.span_id == agent.get_span_context().span_id
    (ran,) = server.ran()
    if ran["traceparent"] is not None:  # in one process the SDK hands over the context itself
        assert f"-{span.context.trace_id:032x}-{span.context.span_id:016x}-" in ran["traceparent"]
    else:
        (inner,) = [each for each in stage.spans() if each.kind is SpanKind.SERVER][-1:]
        assert inner.context.trace_id == span.context.trace_id


def test_over_http_the_span_says_where_and_in_which_session(
    stage: Stage, http: tuple[str, Path]
) -> None:
    url, log = http
    log.unlink(missing_ok=True)
    server = Server(url, log)
    server.run(add)
    server.run(add, mode="legacy")
    modern, legacy = sent(stage)
    for span in (modern, legacy):
        assert span.attributes is not None
        assert span.attributes["server.address"] == "127.0.0.1"
        assert f":{span.attributes['server.port']!r}/" in url
        assert int(str(span.attributes["jsonrpc.request.id"])) > 0
    assert legacy.attributes is not None
    assert modern.attributes is not None
    assert len(str(legacy.attributes["mcp.session.id"])) > 8
    assert "mcp.session.id" not in modern.attributes  # the protocol of 2026 has none
    parents = [run["traceparent"] for run in server.ran()]
    assert [parent.split("-")[2] for parent in parents] == [
        f"{span.context.span_id:016x}" for span in (modern, legacy)
    ]


def test_a_call_that_does_not_fit_never_reaches_the_server(
    tmp_path: Path, memory: InMemorySpanExporter, server: Server
) -> None:
    with open_stage(tmp_path, memory, limit="0.3") as stage:

        async def work(client: Client) -> None:
            await search(client)
            with pytest.raises(BudgetExceededError) as denied:
                await search(client)
            assert denied.value.rule_id == "all"

        server.run(work)
        assert [run["tool"] for run in server.ran()] == ["search"]
        assert stage.balance().posted == 250_000_000
        assert stage.balance().held == 0
        _, span = sent(stage)
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "tollspan.budget_exceeded"
        assert [event.call.request.model for event in stage.denials()] == ["search"]


def test_a_tool_without_a_price_is_unpriced_and_rules_may_refuse_it(
    tmp_path: Path, memory: InMemorySpanExporter, server: Server
) -> None:
    rules = "version: 1\nbudgets: [{id: all, limit: 1 USD}]"
    with open_stage(tmp_path / "a", memory, rules=rules) as stage:
        server.run(add)
        assert stage.event().cost.status == "unpriced"
    strict = "version: 1\ndefaults: {on_unpriced: deny}\nbudgets: [{id: all, limit: 1 USD}]"

    async def refused(client: Client) -> None:
        with pytest.raises(UnpricedModelError):
            await add(client)

    with open_stage(tmp_path / "b", memory, rules=strict):
        server.run(refused)
    assert [run["tool"] for run in server.ran()] == ["add"]


def test_a_tool_that_says_that_it_failed_costs_what_it_costs(stage: Stage, server: Server) -> None:
    result = server.run(lambda client: client.call_tool("fail", {}))
    assert result.is_error
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "tool_error")
    assert event.cost.status == "unpriced"
    (span,) = sent(stage)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "tool_error"
    assert "secret text" not in span.to_json()


def test_what_the_server_did_not_run_is_not_billed(stage: Stage, server: Server) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(MCPError):
            await client.call_tool("reject", {})

    server.run(work)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "-32602")
    assert (event.cost.status, event.cost.amount_nanousd) == ("not_billed", 0)
    (span,) = sent(stage)
    assert span.status.description == "MCPError"


def test_a_call_that_times_out_costs_what_it_costs(
    tmp_path: Path, memory: InMemorySpanExporter, server: Server
) -> None:
    with open_stage(tmp_path, memory) as stage:

        async def work(client: Client) -> None:
            with pytest.raises(MCPError, match=r"[Tt]imed out"):
                await client.call_tool("sleep", {"seconds": 30}, read_timeout_seconds=0.2)

        server.run(work)
        event = stage.event()
        assert (event.outcome.status, event.outcome.error_type) == ("timeout", "-32001")
        assert event.cost.amount_nanousd == 100_000_000


def test_a_cancelled_call_costs_what_it_costs(
    tmp_path: Path, memory: InMemorySpanExporter, server: Server
) -> None:
    with open_stage(tmp_path, memory) as stage:

        async def work(client: Client) -> None:
            task = asyncio.create_task(client.call_tool("sleep", {"seconds": 30}))
            while not server.ran():
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        server.run(work)
        event = stage.event()
        assert (event.outcome.status, event.cost.amount_nanousd) == ("cancelled", 100_000_000)
        assert len(sent(stage)) == 1


def test_a_request_that_a_program_makes_itself_is_gated_too(stage: Stage, server: Server) -> None:
    async def work(client: Client) -> types.CallToolResult:
        params = types.CallToolRequestParams(name="search", arguments={"query": "x"})
        session: ClientSession = client.session
        return await session.send_request(
            types.CallToolRequest(params=params), types.CallToolResult
        )

    assert text(server.run(work)) == "found x"
    assert stage.event().cost.amount_nanousd == 250_000_000


def test_a_decorated_tool_of_the_same_name_is_one_tool_and_costs_once(
    stage: Stage, server: Server
) -> None:
    async def work(client: Client) -> None:
        @tool(name="search")
        async def ours() -> str:
            return text(await search(client))

        @tool(name="another", cost="0.1 USD")
        async def around() -> str:
            return text(await search(client))

        await ours()
        await around()

    server.run(work)
    costs = [(each.call.request.model, each.cost.amount_nanousd) for each in stage.events()]
    assert costs == [("search", 250_000_000), ("search", 250_000_000), ("another", 100_000_000)]
    assert [(each.call.request.server is None) for each in stage.events()] == [True, False, True]


def test_suppressed_spans_leave_the_gate_and_the_sdks_own_as_they_were(
    stage: Stage, server: Server
) -> None:
    with suppress_instrumentation():
        server.run(search)
    assert stage.event().cost.amount_nanousd == 250_000_000
    assert all(
        span.instrumentation_scope is not None and span.instrumentation_scope.name != "tollspan"
        for span in stage.spans()
    )


def test_everything_else_of_the_protocol_passes(stage: Stage, server: Server) -> None:
    tools = server.run(lambda client: client.list_tools())
    assert {one.name for one in tools.tools} == {"add", "search", "fail", "reject", "sleep"}
    stage.settle()
    assert not stage.has_events()


def test_over_standard_streams_it_is_the_same(stage: Stage, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tests.fakes.mcp_server", str(log)],
        cwd=mcp_server.ROOT,
    )
    server = Server(lambda: stdio_client(command), log)

    async def work(client: Client) -> None:
        for _ in range(3):
            assert text(await search(client)) == "found a secret"
        with pytest.raises(MCPError):
            await client.call_tool("sleep", {"seconds": 30}, read_timeout_seconds=0.2)
        with pytest.raises(BudgetExceededError):
            await search(client)

    server.run(work)
    costs = [each.cost.amount_nanousd for each in stage.events()]
    assert costs == [*[250_000_000] * 3, 100_000_000]
    ran = server.ran()
    assert [run["tool"] for run in ran] == [*["search"] * 3, "sleep"]
    *spans, refused = sent(stage)
    assert refused.status.status_code is StatusCode.ERROR
    assert [run["traceparent"].split("-")[2] for run in ran] == [
        f"{span.context.span_id:016x}" for span in spans
    ]


def test_taken_off_the_sdk_is_the_very_same(stage: Stage) -> None:
    ours = ClientSession.__dict__["send_request"]
    stage.installed.hooks["mcp"].remove()
    assert ClientSession.__dict__["send_request"] is ours.__wrapped__
    stage.installed.hooks["mcp"].apply()
    assert ClientSession.__dict__["send_request"].__wrapped__ is ours.__wrapped__
