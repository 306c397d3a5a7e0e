"""The hooks in the MCP SDK: the gate, one span instead of two, and where a request goes."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, cast

import wrapt
from opentelemetry.trace import Span

from tollspan import semconv
from tollspan.attribution import current_call
from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._foreign import METRIC_FAMILIES, has_foreign_layer
from tollspan.instrumentation._spans import mark_inner_span
from tollspan.instrumentation._tool_call import running
from tollspan.safety import Guard

from ._call import McpCall

PACKAGE = "mcp"
# Module, class (None for a function of the module), name, and our wrapper of it.
_SESSION = ("mcp.client.session", "ClientSession", "send_request", "_send_request")
_SPAN = ("mcp.shared.jsonrpc_dispatcher", None, "otel_span", "_otel_span")
_POST = (
    "mcp.client.streamable_http",
    "StreamableHTTPTransport",
    "_handle_post_request",
    "_post",
)
Sightings = Callable[[str, str], None]


class McpHooks:
    """Wraps the SDK when it is imported, and takes the wrappers off again."""

    def __init__(self, lifecycle: Lifecycle, sightings: Sightings) -> None:
        self._lifecycle = lifecycle
        self.spans = lifecycle.spans.apart()
        self._sightings = sightings
        self._guard = Guard("mcp.hooks")
        self._others = _SessionOthers()
        self._is_active = False
        self._is_hooked = False
        self._undo: list[tuple[Any, str, object, object]] = []

    def apply(self) -> None:
        """Wrap the SDK if it is imported already, else when it is."""
        self._is_active = True
        if self._is_hooked:
            self._patch(sys.modules.get(PACKAGE))
        else:
            self._is_hooked = True
            wrapt.register_post_import_hook(self._patch, PACKAGE)

    def remove(self) -> None:
        """Put the very same functions back; where somebody wrapped over ours, pass through."""
        self._is_active = False
        for owner, name, original, ours in self._undo:
            if _members(owner).get(name) is ours:
                setattr(owner, name, original)
        self._undo = []

    def _patch(self, package: Any) -> None:
        if package is None or self._undo or not self._is_active:
            return
        with Guard("mcp.patch"):
            for module, owner_name, name, wrapper in (_SESSION, _SPAN, _POST):
                owner: Any = sys.modules.get(module)
                if owner is not None and owner_name is not None:
                    owner = getattr(owner, owner_name, None)
                members: dict[str, Any] = {} if owner is None else _members(owner)
                if name not in members:  # `doctor` says so
                    self._sightings("unwrapped", ".".join(filter(None, (module, owner_name, name))))
                    continue
                original = members[name]
                ours: object = wrapt.FunctionWrapper(original, getattr(self, wrapper))
                setattr(owner, name, ours)
                self._undo.append((owner, name, original, ours))

    async def _send_request(
        self,
        wrapped: Callable[..., Awaitable[object]],
        instance: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        call: McpCall | None = None
        with self._guard:
            call = self._call_of(instance, args[0] if args else kwargs.get("request"))
        if call is None:
            return await wrapped(*args, **kwargs)
        return await self._lifecycle.call_async(call, _never, call, wrapped, args, kwargs)

    def _call_of(self, session: Any, request: Any) -> McpCall | None:
        """Return the call that a request is; None for what is no call of a tool, or is one of ours.

        A decorated tool that hands over to the server's tool of the same name is one tool: the
        conventions want one span of it, and its price is one.
        """
        if not self._is_active or getattr(request, "method", None) != semconv.METHOD_TOOLS_CALL:
            return None
        name = str(request.params.name)
        return McpCall(session, name, self.spans, self._others) if running(name) is None else None

    def _otel_span(
        self,
        wrapped: Callable[..., object],
        instance: object,  # noqa: ARG002 - wrapt's
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """Give the SDK our span of a call in place of its own, so that there is one of it.

        The trace context that the SDK then sends is that of our span.
        """
        with self._guard:
            call = _current()
            if call is not None:
                mark_inner_span()
                if call.span is not None:
                    call.sent_as(kwargs.get("attributes") or {})
                    return _Lent(call.span)
        return wrapped(*args, **kwargs)

    async def _post(
        self,
        wrapped: Callable[..., Awaitable[object]],
        instance: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        with self._guard:
            call = _current()
            if call is not None:
                call.sent_over_http(instance)
        return await wrapped(*args, **kwargs)


class _Lent:
    """A span that somebody else may write on, and does not end."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class _SessionOthers:
    """Looks at the layers around the SDK's methods."""

    def make_spans(self, asked: object) -> bool:  # noqa: ARG002 - the protocol's
        """Say whether another instrumentor makes the spans of calls."""
        return any(has_foreign_layer(function) for function in _functions())

    def record_metrics(self) -> bool:
        """Say whether it records the conventions' metrics too."""
        return any(has_foreign_layer(function, METRIC_FAMILIES) for function in _functions())


def _members(owner: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", owner.__dict__)


def _functions() -> list[object]:
    session: object = getattr(sys.modules.get(_SESSION[0]), "ClientSession", None)
    return [getattr(session, name, None) for name in ("call_tool", "send_request")]


def _current() -> McpCall | None:
    """Return the call that is being sent here."""
    flight = current_call.get()
    return flight.asked if flight is not None and isinstance(flight.asked, McpCall) else None


def _never(result: object, run: object, reader: object) -> object:  # noqa: ARG001 - a proxy's maker
    return result
