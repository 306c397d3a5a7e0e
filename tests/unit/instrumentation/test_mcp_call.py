"""How answers and errors of an MCP server are read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from tollspan.instrumentation import SpanEmitter
from tollspan.instrumentation.mcp._call import McpCall
from tollspan.usage import Usage

ONCE = Usage(quantities=(("tool_calls", 1),))


def call() -> McpCall:
    session = SimpleNamespace(server_info=None, protocol_version=None)
    return McpCall(session, "search", SpanEmitter(tracer=lambda: None, recorder=None), None)


def invalid_answer() -> ValidationError:
    try:
        types.CallToolResult.model_validate({"content": 3})
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("answer", "usage", "error_type"),
    [
        pytest.param(types.CallToolResult(content=[]), ONCE, None, id="an answer"),
        pytest.param(
            types.CallToolResult(content=[], is_error=True), ONCE, "tool_error", id="the tool's own"
        ),
        pytest.param(types.InputRequiredResult(request_state="s"), None, None, id="wants input"),
    ],
)
def test_an_answer_is_billed_unless_it_asks_for_more(
    answer: object, usage: Usage | None, error_type: str | None
) -> None:
    reading = call().result(answer)
    assert (reading.usage, reading.error_type) == (usage, error_type)


@pytest.mark.parametrize(
    ("error", "status", "error_type", "is_billed"),
    [
        pytest.param(MCPError(types.INVALID_PARAMS, ""), "error", "-32602", False, id="arguments"),
        pytest.param(MCPError(types.METHOD_NOT_FOUND, ""), "error", "-32601", False, id="method"),
        pytest.param(MCPError(types.INTERNAL_ERROR, ""), "error", "-32603", True, id="internal"),
        pytest.param(MCPError(types.PARSE_ERROR, ""), "error", "-32700", True, id="unreadable"),
        pytest.param(MCPError(types.CONNECTION_CLOSED, ""), "error", "-32000", True, id="closed"),
        pytest.param(MCPError(types.REQUEST_TIMEOUT, ""), "timeout", "-32001", True, id="time"),
        pytest.param(
            RuntimeError("before run()"), "error", "RuntimeError", False, id="not entered"
        ),
        pytest.param(invalid_answer(), "error", "ValidationError", True, id="an odd answer"),
        pytest.param(OSError(), "error", "OSError", True, id="the transport's"),
        pytest.param(asyncio.CancelledError(), "cancelled", "CancelledError", True, id="cancelled"),
    ],
)
def test_an_error_is_billed_unless_the_tool_was_not_run(
    error: BaseException, status: str, error_type: str, is_billed: bool
) -> None:
    failure = call().failure(error)
    assert (failure.status, failure.error_type) == (status, error_type)
    assert failure.is_maybe_billed is is_billed
    usage: Any = failure.reading.usage if failure.reading is not None else None
    assert usage == (ONCE if is_billed else None)
