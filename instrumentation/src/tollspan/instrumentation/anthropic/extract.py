"""Reads Anthropic's messages: SDK objects or JSON in, values out. No span, no I/O, no SDK.

Sources: anthropic-python 2.12 (`types/message*.py`, `types/beta/`) and the API's reference for
messages, both read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, StreamReader, is_given, text
from tollspan.usage import Request, Usage

from ._sizes import further_size, message_size, never_filled
from ._streams import MessagesStreamReader
from ._tools import NO_TOOLS, listed, read_tools
from ._usage import MALFORMED_ITERATIONS, read_response, read_usage

# Beyond this a limit is none: no model writes as much.
_MOST_OUTPUT = 10**9
# Substitutes that "default" may stand for; the API does not say how many there are.
_DEFAULT_FALLBACKS = 2


class MessagesShape:
    """Reads `POST /v1/messages`, of the beta surface too."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked."""
        messages = message_size(body.get("messages"))
        more, reasons, writes = further_size(body)
        tools = NO_TOOLS
        has_loop = _has_servers(body)
        if has_loop or messages.tools or is_given(body.get("tools")):
            tools = read_tools((*listed(body.get("tools")), *messages.tools), has_loop=has_loop)
        fallbacks = _fallbacks(body.get("fallbacks"))
        is_compacted = _may_compact(body.get("context_management"))
        conditions = (
            (tools.is_at_provider, "server_tool"),
            (tools.runs_other_model or fallbacks > 0, "other_model"),
            (is_compacted, "compaction"),
            (_continues_thread(body.get("thread")), "server_history"),
        )
        return Request(
            provider=route.provider,
            operation=semconv.OPERATION_CHAT,
            # A name that is no text can't be priced, but is asked for all the same.
            model=text(body.get("model")) or "",
            host=route.host,
            port=route.port,
            is_assumed=route.is_assumed,
            input_bytes=messages.input_bytes + more + tools.prompt_tokens,
            unbounded=(*messages.unbounded, *reasons, *[why for holds, why in conditions if holds]),
            max_output_tokens=_output_limit(body.get("max_tokens")),
            service_tier="fast" if body.get("speed") == "fast" else text(body.get("service_tier")),
            is_stream=is_stream,
            region=text(body.get("inference_geo")),
            quantities=tools.quantities,
            unlimited=tools.unlimited,
            never=never_filled(max(messages.writes, writes)),
            rounds=(tools.rounds + is_compacted) * (1 + fallbacks),
        )

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:
        """Limit the output; not to as little as the model is to think, which would be refused."""
        most = request.max_output_tokens
        if most is None or most <= _thinking_tokens(body.get("thinking")):
            return None
        given = _output_limit(body.get("max_tokens"))
        return {} if given is not None and given <= most else {"max_tokens": most}

    def answer(self, answer: Any) -> Reading:
        """Read a `Message`, a `BetaMessage` or a view of their JSON."""
        said = getattr(answer, "usage", None)
        response = read_response(answer, said, getattr(answer, "stop_reason", None))
        if said is None:
            return Reading(Usage(status="unknown"), response)
        usage = read_usage(said)
        return Reading(usage, response, is_incomplete=MALFORMED_ITERATIONS in usage.flags)

    def reader(self, request: Request, *, hides_usage: bool) -> StreamReader:  # noqa: ARG002 - a stream always says its usage: nothing is injected, nothing hidden
        """Return a reader of the events that answer a request."""
        return MessagesStreamReader(request)


def _output_limit(value: object) -> int | None:
    """Return the limit; 0 is one, it only fills the prompt cache."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_OUTPUT:
        return int(value)
    return None


def _thinking_tokens(value: object) -> int:
    """Return what the model is told to think; 0 where no number of tokens is told."""
    if isinstance(value, Mapping):
        found = cast("Mapping[str, object]", value).get("budget_tokens")
    else:
        found = getattr(value, "budget_tokens", None)
    return found if isinstance(found, int) else 0


def _has_servers(body: Mapping[str, object]) -> bool:
    """Say whether the provider is to ask MCP servers, or to load skills into a container."""
    servers = body.get("mcp_servers")
    if is_given(servers) and servers not in ([], ()):
        return True
    container = body.get("container")
    if isinstance(container, Mapping):
        return bool(cast("Mapping[str, object]", container).get("skills"))
    return bool(getattr(container, "skills", None))


def _fallbacks(value: object) -> int:
    """Return how many other models may answer when one refuses: each reads the input again."""
    if not is_given(value):
        return 0
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return _DEFAULT_FALLBACKS
    return len(cast("list[object]", value))


def _may_compact(value: object) -> bool:
    """Say whether the context may be summed up on the way, by a run that the totals leave out."""
    if isinstance(value, Mapping):
        edits = cast("Mapping[str, object]", value).get("edits")
    else:
        edits = getattr(value, "edits", None)
    for edit in listed(edits):
        if isinstance(edit, Mapping):
            kind = cast("Mapping[str, object]", edit).get("type")
        else:
            kind = getattr(edit, "type", None)
        if isinstance(kind, str) and kind.startswith("compact"):
            return True
    return False


def _continues_thread(value: object) -> bool:
    """Say whether the provider holds a history that is not sent."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value).get("type") != "create"
    return is_given(value) and getattr(value, "type", None) != "create"
