"""Reads OpenAI chat completions: SDK objects in, values out. No span, no I/O.

Sources: openai-python 3.54 (`types/chat`, `_streaming.py`, `_exceptions.py`) and the API's
reference for chat completions, both read in November 2026.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from operator import attrgetter
from typing import cast

import msgspec
from openai._constants import RAW_RESPONSE_HEADER

from tollspan import semconv
from tollspan.instrumentation._call import Failure, Kwargs, Reading, StreamReader
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._stream import is_stream
from tollspan.usage import Request, Response, Usage

from ._failures import read_failure
from ._sizes import further_size, is_given, message_size
from ._streams import ChatStreamReader
from ._usage import read_usage

_REFUSALS = frozenset({400, 422})
_OURS = re.compile(r"stream_options|include_usage")
_base_url = attrgetter("_client.base_url")  # of a resource: the SDK has no public way to it


class ChatExtractor:
    """Reads `chat.completions.create`.

    Args:
        hosts: Whose host a client's base URL is.
    """

    def __init__(self, hosts: HostTable) -> None:
        self._hosts = hosts
        self._refusing: set[tuple[str, int | None]] = set()

    def request(self, instance: object, kwargs: Mapping[str, object]) -> Request | None:
        """Read what is asked; `extra_body` overrides arguments, as it does on the wire.

        None when a required argument is missing: the SDK raises before it sends anything.
        """
        if "model" not in kwargs or "messages" not in kwargs:
            return None
        extra = kwargs.get("extra_body")
        if isinstance(extra, Mapping) and extra:
            kwargs = {**kwargs, **cast("Mapping[str, object]", extra)}
        model = kwargs["model"]
        tier = kwargs.get("service_tier")
        input_bytes, unbounded = message_size(kwargs["messages"])
        more, prediction, reasons = further_size(kwargs)
        route = self._hosts.route(_base_url(instance))
        return Request(
            provider=route.provider,
            operation=semconv.OPERATION_CHAT,
            # A name that is no text can't be priced, but is asked for all the same.
            model=str.__str__(model) if isinstance(model, str) else "",
            host=route.host,
            port=route.port,
            is_assumed=route.is_assumed,
            input_bytes=input_bytes + more,
            unbounded=unbounded + reasons,
            max_output_tokens=_output_limit(kwargs),
            choices=_choices(kwargs["n"]) if "n" in kwargs else 1,
            prediction_bytes=prediction,
            service_tier=str.__str__(tier) if isinstance(tier, str) else None,
            is_stream=bool(kwargs.get("stream")),
        )

    def arguments(self, request: Request, kwargs: Kwargs) -> Kwargs:
        """Ask a stream for its usage where the caller did not; through `extra_body`, see below.

        Keyword arguments are transformed by the SDK key by key; what is in `extra_body` is merged
        as it is, and wins. A raw stream is left alone: its reader would see one event more.
        """
        if not request.is_stream or _is_raw(kwargs):
            return kwargs
        if (request.host, request.port) in self._refusing:
            return kwargs
        options = _stream_options(kwargs)
        if options.get("include_usage"):
            return kwargs
        extra = kwargs.get("extra_body")
        body = dict(cast("Mapping[str, object]", extra)) if isinstance(extra, Mapping) else {}
        body["stream_options"] = {**options, "include_usage": True}
        return _Injected({**kwargs, "extra_body": body}, kwargs)

    def again(self, error: Exception, kwargs: Kwargs) -> Kwargs | None:
        """Take back our request for usage from a server that may not know it."""
        if not isinstance(kwargs, _Injected):
            return None
        if getattr(error, "status_code", None) not in _REFUSALS or not _OURS.search(str(error)):
            return None
        kwargs.is_taken_back = True
        return kwargs.given

    def result(self, result: object) -> Reading:
        """Read a whole answer; a raw response is read from its bytes, if they are there."""
        usage = getattr(result, "usage", None)
        if usage is None:
            raw = getattr(result, "http_response", None)
            if raw is not None:
                return _read_raw(raw)
            return Reading(Usage(status="unknown"), _response(result))
        return Reading(read_usage(usage), _response(result))

    def stream(self, request: Request, result: object, kwargs: Kwargs) -> StreamReader | None:
        """Watch a stream, and a raw response that can be parsed into one."""
        if isinstance(kwargs, _Injected) and kwargs.is_taken_back:
            self._refusing.add((request.host, request.port))  # without ours it worked: remember
        if not request.is_stream or not (is_stream(result) or hasattr(result, "parse")):
            return None
        return ChatStreamReader(request, hides_usage=_is_injected(kwargs))

    def failure(self, error: BaseException, *, is_sent: bool) -> Failure:
        """Read an exception: see `docs/reference/outcomes.md` for the table."""
        return read_failure(error, is_sent=is_sent)


class _Injected(dict[str, object]):
    """Arguments into which we put the request for usage, and those that the caller gave."""

    __slots__ = ("given", "is_taken_back")

    def __init__(self, arguments: Kwargs, given: Kwargs) -> None:
        super().__init__(arguments)
        self.given = given
        self.is_taken_back = False


def _is_injected(kwargs: Kwargs) -> bool:
    return isinstance(kwargs, _Injected) and not kwargs.is_taken_back


def _output_limit(kwargs: Mapping[str, object]) -> int | None:
    """Return the larger of the two limits, since servers differ in which one they read."""
    limit = kwargs.get("max_completion_tokens")
    if type(limit) is int and limit > 0 and "max_tokens" not in kwargs:
        return limit
    limit = None
    for name in ("max_completion_tokens", "max_tokens"):
        value = kwargs.get(name)
        if isinstance(value, int) and value > 0:
            limit = int(value) if limit is None else max(limit, int(value))
        elif is_given(value):
            return None  # whatever a server makes of -1, 0.5 or "many"
    return limit


def _choices(value: object) -> int:
    """Return how many answers are asked for; 1 for what is not given or makes no sense."""
    if isinstance(value, str):
        value = int(value[:10]) if value.isdecimal() else 1
    if isinstance(value, int | float) and math.isfinite(value):
        return max(1, math.ceil(value))
    return 1


def _stream_options(kwargs: Mapping[str, object]) -> Mapping[str, object]:
    """Return the options of a stream as they will be sent."""
    extra = kwargs.get("extra_body")
    if isinstance(extra, Mapping) and "stream_options" in extra:
        options = cast("Mapping[str, object]", extra)["stream_options"]
    else:
        options = kwargs.get("stream_options")
    dump = getattr(options, "model_dump", None)
    if dump is not None:
        options = dump(mode="json", exclude_unset=True)
    return cast("Mapping[str, object]", options) if isinstance(options, Mapping) else {}


def _is_raw(kwargs: Mapping[str, object]) -> bool:
    headers = kwargs.get("extra_headers")
    return isinstance(headers, Mapping) and RAW_RESPONSE_HEADER in headers


def _response(result: object) -> Response:
    choices = getattr(result, "choices", None) or ()
    return Response(
        id=getattr(result, "id", None),
        model=getattr(result, "model", None),
        finish_reasons=tuple([choice.finish_reason or "" for choice in choices]),
        service_tier=getattr(result, "service_tier", None),
    )


def _read_raw(raw: object) -> Reading:
    """Read a response that the caller asked for raw, when its body is already in memory."""
    if not getattr(raw, "is_closed", False) or not getattr(raw, "is_stream_consumed", False):
        return Reading(Usage(status="unknown"), Response())
    try:
        body = msgspec.json.decode(getattr(raw, "content", b""), type=_RawBody)
    except msgspec.MsgspecError:
        return Reading(Usage(status="unknown"), Response())
    usage = read_usage(body.usage) if body.usage is not None else Usage(status="unknown")
    finish = tuple([choice.finish_reason or "" for choice in body.choices or ()])
    return Reading(
        usage,
        Response(
            id=body.id, model=body.model, finish_reasons=finish, service_tier=body.service_tier
        ),
    )


class _RawChoice(msgspec.Struct):
    finish_reason: str | None = None


class _RawBody(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: dict[str, object] | None = None
    choices: list[_RawChoice] | None = None
