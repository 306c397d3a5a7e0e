"""Reads OpenAI chat completions: SDK objects in, values out. No span, no I/O.

Sources: openai-python 3.54 (`types/chat`, `_streaming.py`, `_exceptions.py`) and the API's
reference for chat completions, both read in November 2026.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import msgspec
from openai import APIConnectionError, APIStatusError, APITimeoutError

from tollspan import semconv
from tollspan.instrumentation._call import Failure, Kwargs, Reading, StreamReader
from tollspan.instrumentation._hosts import HostTable
from tollspan.usage import Request, Response, Usage

from ._streams import ChatStreamReader
from ._usage import read_usage

if TYPE_CHECKING:
    from openai.resources.chat.completions import Completions

# Arguments that never become input tokens; whatever else is given is counted by its bytes.
_FREE_OF_INPUT = frozenset(
    {
        "model", "messages", "max_tokens", "max_completion_tokens", "n", "stream",
        "stream_options", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed",
        "stop", "user", "logprobs", "top_logprobs", "logit_bias", "metadata", "modalities",
        "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "safety_identifier", "service_tier", "store", "verbosity",
        "reasoning_effort", "timeout", "extra_headers", "extra_query", "extra_body",
    }
)  # fmt: skip
_MEDIA = (b'"type":"image_url"', b'"type":"input_audio"', b'"type":"file"', b'"audio":{')
# Request timeouts and gateways that gave up: the provider may have gone on, and billed.
_MAYBE_BILLED_STATUS = frozenset({408, 504, 524})
# Failures before a byte of the request was sent, by the transports' own class names.
_NEVER_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"}
)


def _plain(value: object) -> object:
    """Help the encoder with what callers put into messages: the SDK's own models, mappings."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise NotImplementedError(type(value).__name__)


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


class ChatExtractor:
    """Reads `chat.completions.create`.

    Args:
        hosts: Whose host a client's base URL is.
    """

    def __init__(self, hosts: HostTable) -> None:
        self._hosts = hosts

    def request(self, instance: object, kwargs: Mapping[str, object]) -> Request | None:
        """Read what is asked; `extra_body` overrides arguments, as it does on the wire."""
        extra = kwargs.get("extra_body")
        if extra and isinstance(extra, Mapping):
            kwargs = {**kwargs, **extra}
        model = kwargs.get("model")
        messages = kwargs.get("messages")
        if type(model) is not str or messages is None:
            return None
        limit = kwargs.get("max_completion_tokens")
        if type(limit) is not int:
            limit = kwargs.get("max_tokens")
        choices = kwargs.get("n")
        tier = kwargs.get("service_tier")
        input_bytes, unbounded = _count(messages)
        prediction = 0
        if not kwargs.keys() <= _FREE_OF_INPUT:
            more, prediction, reasons = _count_further(kwargs)
            input_bytes += more
            unbounded += reasons
        client = cast("Completions", instance)._client  # noqa: SLF001 - no public way
        route = self._hosts.route(client.base_url)
        return Request(
            provider=route.provider,
            operation=semconv.OPERATION_CHAT,
            model=model,
            host=route.host,
            port=route.port,
            is_assumed=route.is_assumed,
            input_bytes=input_bytes,
            unbounded=unbounded,
            max_output_tokens=limit if type(limit) is int else None,
            choices=choices if type(choices) is int else 1,
            prediction_bytes=prediction,
            service_tier=tier if type(tier) is str else None,
            is_stream=bool(kwargs.get("stream")),
        )

    def arguments(self, request: Request, kwargs: Kwargs) -> Kwargs:
        """Ask a stream for its usage where the caller did not; through `extra_body`, see below.

        Keyword arguments are transformed by the SDK key by key; what is in `extra_body` is merged
        as it is, and wins.
        """
        if not request.is_stream or _asks_for_usage(kwargs):
            return kwargs
        extra = kwargs.get("extra_body")
        body: dict[str, object] = dict(extra) if isinstance(extra, Mapping) else {}
        options = body.get("stream_options", kwargs.get("stream_options"))
        given = dict(options) if isinstance(options, Mapping) else {}
        body["stream_options"] = {**given, "include_usage": True}
        return _Injected({**kwargs, "extra_body": body})

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
        """Watch a stream; raw responses of streams are not watched, and end as unknown."""
        if not request.is_stream or not hasattr(result, "_iterator"):
            return None
        return ChatStreamReader(request, hides_usage=isinstance(kwargs, _Injected))

    def failure(self, error: BaseException, *, is_sent: bool) -> Failure:
        """Read an exception: see `docs/reference/outcomes.md` for the table."""
        if isinstance(error, APIStatusError):
            code = error.status_code
            return Failure("error", str(code), is_maybe_billed=code in _MAYBE_BILLED_STATUS)
        name = type(error).__name__
        if isinstance(error, APITimeoutError):
            return Failure("timeout", name, is_maybe_billed=is_sent and was_sent(error.__cause__))
        if isinstance(error, APIConnectionError):
            return Failure("error", name, is_maybe_billed=is_sent and was_sent(error.__cause__))
        if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
            return Failure("cancelled", name, is_maybe_billed=is_sent)
        return Failure("error", name, is_maybe_billed=is_sent)


def was_sent(cause: BaseException | None) -> bool:
    """Say whether a transport's failure came after the request, or part of it, was sent."""
    return cause is None or type(cause).__name__ not in _NEVER_SENT


def _count(messages: object) -> tuple[int, tuple[str, ...]]:
    """Bound the messages' bytes by the length of their JSON, which is never shorter.

    Whatever can't be encoded without using it up, a generator say, has no bound.
    """
    try:
        encoded = _encode(messages)
    except (NotImplementedError, TypeError, ValueError, RecursionError):
        return 0, ("opaque_messages",)
    if b'"type":"' in encoded or b'"audio":{' in encoded:
        for sign in _MEDIA:
            if sign in encoded:
                return len(encoded), ("media",)
    return len(encoded), ()


def _count_further(kwargs: Mapping[str, object]) -> tuple[int, int, tuple[str, ...]]:
    """Count the arguments that become input besides the messages: tools, schemas, predictions."""
    input_bytes = prediction = 0
    reasons: tuple[str, ...] = ()
    for name in kwargs.keys() - _FREE_OF_INPUT:
        value = kwargs[name]
        if not value:  # the SDK's "not given" is false, as None is
            continue
        if name == "web_search_options":
            reasons += ("server_tool",)
            continue
        size, more = _count(value)
        reasons += more
        if name == "prediction":
            prediction = size
        input_bytes += size
    return input_bytes, prediction, reasons


def _asks_for_usage(kwargs: Mapping[str, object]) -> bool:
    extra = kwargs.get("extra_body")
    options: object = None
    if isinstance(extra, Mapping):
        options = extra.get("stream_options")
    if options is None:
        options = kwargs.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


class _Injected(dict[str, object]):
    """Arguments into which we put the request for usage."""

    __slots__ = ()


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
    return Reading(usage, Response(id=body.id, model=body.model, service_tier=body.service_tier))


class _RawBody(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: dict[str, object] | None = None


def retry_was_maybe_billed(response: object, error: BaseException | None) -> bool:
    """Say of an attempt that the SDK repeats whether the provider may have billed it.

    Args:
        response: The answer that made it retry, None when there was none.
        error: The transport's failure, when there was no answer.
    """
    if response is not None:
        return getattr(response, "status_code", None) in _MAYBE_BILLED_STATUS
    return was_sent(error)
