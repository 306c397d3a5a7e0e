"""One call of a tool: what it may use, what it says that it used, and its span."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.budget import Change
from tollspan.usage import (
    TOOL_CALLS,
    CallDeniedError,
    OutcomeStatus,
    Request,
    Response,
    Usage,
)

from ._run import Failure
from ._shapes import Reading, StreamReader
from ._spans import OwnSpan, SpanEmitter
from ._turns import arguments_turn


class NoOthers:
    """Nobody else makes spans of these calls."""

    def make_spans(self, asked: object) -> bool:  # noqa: ARG002 - the protocol's
        """Nobody does."""
        return False

    def record_metrics(self) -> bool:
        """Nobody does."""
        return False


class ToolCall(OwnSpan):
    """A call of a tool, and what reads it: each has one of its own.

    Attributes:
        name: The tool's.
        outer: The call of a tool within which it runs.
        is_free: Tools are gated, also those that cost nothing.
        others: Who else makes spans of it.
        spans: Starts its span.
        given: What its function is called with, while some policy wants to know; else None.
    """

    is_free = False
    others: Any = NoOthers()
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __init__(self, request: Request, spans: SpanEmitter, unit: str | None = None) -> None:
        self.name = request.model
        self.spans = spans
        self.outer = current_tool.get()
        self._request = request
        self._unit = unit
        self._counts: dict[str, int] = {}
        self._is_closed = False
        # One for each call: a child that is forked while another call counts must not wait for it.
        self._lock = threading.Lock()

    def add(self, metric: str, value: int) -> bool:
        """Count what was used; False when the call has ended, and nothing was counted."""
        with self._lock:
            if not self._is_closed:
                self._counts[metric] = self._counts.get(metric, 0) + value
            return not self._is_closed

    def reading(self) -> Reading:
        """Say what was used, and count no more; unknown when nobody said what it is priced by."""
        with self._lock:
            self._is_closed = True
            counts = self._counts
        if self._unit is not None and self._unit not in counts:
            return Reading(Usage(status="unknown"), Response())
        quantities = tuple(sorted({TOOL_CALLS: 1, **counts}.items()))
        return Reading(Usage(quantities=quantities), Response())

    # -- what the life cycle asks --

    def request(self, asked: object) -> Request:  # noqa: ARG002 - the protocol's
        """Return what is asked."""
        return self._request

    def details(self, asked: object) -> None:
        """Say nothing more: its span has a shape of its own."""

    def turn(self, asked: object) -> list[str] | None:  # noqa: ARG002 - the protocol's
        """Read its name and arguments; an object that it is a method of is left out."""
        if self.given is None:
            return None
        args, kwargs = self.given
        found = arguments_turn(self.name, (args, kwargs))
        return found or (arguments_turn(self.name, (args[1:], kwargs)) if args else None)

    def prepare(self, request: Request, asked: object) -> None:
        """Change nothing: it is the program's own."""

    def change(self, change: Change, asked: object) -> bool:  # noqa: ARG002 - the protocol's
        """Change nothing: it is the program's own."""
        return False

    def as_asked(self, error: Exception, asked: object) -> bool:  # noqa: ARG002 - the protocol's
        """Never call a tool twice."""
        return False

    def again(self, error: Exception, asked: object) -> bool:  # noqa: ARG002 - the protocol's
        """Never call a tool twice."""
        return False

    def result(self, result: object) -> Reading:  # noqa: ARG002 - the protocol's
        """Say what was used; the result itself is not looked at."""
        return self.reading()

    def stream(
        self,
        request: Request,  # noqa: ARG002 - the protocol's
        result: object,  # noqa: ARG002
        asked: object,  # noqa: ARG002
    ) -> StreamReader | None:
        """Say that the call is over when its function returns."""
        return None

    def failure(self, error: BaseException) -> Failure:
        """Say that a tool that failed costs what it costs."""
        return Failure(status_of(error), error_type(error), True, self.reading())  # noqa: FBT003

    def shape(self) -> tuple[str, SpanKind, dict[str, AttributeValue]]:
        """Return the start of an `execute_tool` span."""
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.OPERATION_EXECUTE_TOOL,
            semconv.GEN_AI_TOOL_NAME: self.name,
            semconv.GEN_AI_TOOL_TYPE: semconv.TOOL_TYPE_FUNCTION,
        }
        return f"{semconv.OPERATION_EXECUTE_TOOL} {self.name}", SpanKind.INTERNAL, attributes


current_tool: ContextVar[ToolCall | None] = ContextVar("tollspan_current_tool", default=None)


def running(name: str | None) -> ToolCall | None:
    """Return the innermost call of a tool that runs here; None where no such one does."""
    call = current_tool.get()
    while call is not None and name is not None and call.name != name:
        call = call.outer
    return call


def status_of(error: BaseException) -> OutcomeStatus:
    """Say how a call ended that raised."""
    if not isinstance(error, Exception):
        return "cancelled"
    return "timeout" if isinstance(error, TimeoutError) else "error"


def error_type(error: BaseException) -> str:
    """Return the low-cardinality id of an error: its class, a denial's own kind."""
    return error.error_type if isinstance(error, CallDeniedError) else type(error).__name__
