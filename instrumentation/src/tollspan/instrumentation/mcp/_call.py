"""Reads one `tools/call`: what is asked, how it was answered, and its span. Imports no SDK."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.instrumentation._run import Failure
from tollspan.instrumentation._shapes import Reading
from tollspan.instrumentation._spans import SpanEmitter
from tollspan.instrumentation._tool_call import ToolCall, error_type, status_of
from tollspan.instrumentation._turns import arguments_turn
from tollspan.usage import TOOL_CALLS, TOOL_PROVIDER, OutcomeStatus, Request, Response

# Answers of a server that has not run the tool: no such method or tool, arguments that do not fit,
# headers that do not, something that the client can't do, a page that its user must see first.
_NOT_RUN = frozenset({-32601, -32602, -32020, -32021, -32022, -32042})
_TIMED_OUT = -32001
# What the SDK raises before it sends anything: a session that was not entered, or has no name.
_NEVER_SENT = frozenset({"RuntimeError", "ValueError"})
_NOT_BILLED = Reading(None, Response())


class McpCall(ToolCall):
    """A call of a tool at an MCP server.

    Attributes:
        request_id: The JSON-RPC id that it was sent with.
    """

    def __init__(self, session: Any, name: str, spans: SpanEmitter, others: object) -> None:
        info = session.server_info
        server = str(getattr(info, "name", "") or "")
        super().__init__(
            Request(
                provider=TOOL_PROVIDER,
                operation=semconv.OPERATION_EXECUTE_TOOL,
                model=name,
                quantities=((TOOL_CALLS, 1),),
                server=server,
            ),
            spans,
        )
        self.others = others
        self._server = server
        self._version = session.protocol_version

    def result(self, result: Any) -> Reading:
        """Read an answer: an error of the tool's own is in it; one that asks for more is no end."""
        if type(result).__name__ == "InputRequiredResult":
            return _NOT_BILLED
        reading = self.reading()
        if getattr(result, "is_error", False):
            return msgspec.structs.replace(reading, error_type="tool_error")
        return reading

    def failure(self, error: BaseException) -> Failure:
        """Read an exception: the tool costs what it costs, unless the server has not run it."""
        code = getattr(getattr(error, "error", None), "code", None)
        if isinstance(code, int):
            status: OutcomeStatus = "timeout" if code == _TIMED_OUT else "error"
            name, is_billed = str(code), code not in _NOT_RUN
        else:
            status, name = status_of(error), error_type(error)
            is_billed = name not in _NEVER_SENT
        return Failure(status, name, is_billed, self.reading() if is_billed else None)

    def turn(self, asked: object) -> list[str] | None:  # noqa: ARG002 - the protocol's
        """Read its name and arguments."""
        if self.given is None:
            return None
        args, kwargs = self.given
        request: Any = args[0] if args else kwargs.get("request")
        return arguments_turn(f"{self._server} {self.name}", request.params.arguments)

    def shape(self) -> tuple[str, SpanKind, dict[str, AttributeValue]]:
        """Return the start of the client's span."""
        attributes: dict[str, AttributeValue] = {
            semconv.MCP_METHOD_NAME: semconv.METHOD_TOOLS_CALL,
            semconv.GEN_AI_OPERATION_NAME: semconv.OPERATION_EXECUTE_TOOL,
            semconv.GEN_AI_TOOL_NAME: self.name,
        }
        if self._version is not None:
            attributes[semconv.MCP_PROTOCOL_VERSION] = str(self._version)
        if self._server:
            attributes[semconv.TOLLSPAN_MCP_SERVER_NAME] = self._server
        return f"{semconv.METHOD_TOOLS_CALL} {self.name}", SpanKind.CLIENT, attributes

    def sent_as(self, attributes: dict[str, Any]) -> None:
        """Put on the span what the SDK would have put on its own."""
        request_id = attributes.get(semconv.JSONRPC_REQUEST_ID)
        if self.span is not None and request_id is not None:
            self.span.set_attribute(semconv.JSONRPC_REQUEST_ID, str(request_id))

    def sent_over_http(self, transport: Any) -> None:
        """Put on the span where it is sent, and in which session."""
        if self.span is None:
            return
        url = urlsplit(str(transport.url))
        attributes: dict[str, AttributeValue] = {semconv.NETWORK_TRANSPORT: "tcp"}
        if url.hostname:
            attributes[semconv.SERVER_ADDRESS] = url.hostname
        if url.port is not None:
            attributes[semconv.SERVER_PORT] = url.port
        if transport.session_id:
            attributes[semconv.MCP_SESSION_ID] = str(transport.session_id)
        self.span.set_attributes(attributes)
