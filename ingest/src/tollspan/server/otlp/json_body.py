"""Reads OTLP bodies in JSON: ids in hex, 64-bit numbers as text, enumerations as numbers.

Everything that is read has a type, and whatever else a body holds is passed over as it is parsed.
Objects are counted before, so that a body of nothing but empty ones takes no more memory either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from .sent import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MARKS,
    MOST_CALLS,
    MOST_TAGS,
    MOST_TEXTS,
    TAGS,
    WANTED,
    BodyError,
    BodyTooLargeError,
    Sent,
    SentSpan,
    SpanError,
    Value,
    check_span,
    short_texts,
)

MOST_OBJECTS = 500_000
"""Objects of a body, at most: these take 70 MB at the worst."""
_ERROR = (2, "STATUS_CODE_ERROR")
_HEX = re.compile(r"[0-9a-fA-F]*")
_INTEGER = re.compile(r"-?[0-9]{1,20}")


class _Text(msgspec.Struct, rename="camel", gc=False):
    string_value: str | None = None


class _Array(msgspec.Struct, rename="camel"):
    values: tuple[_Text, ...] | None = ()


class _AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: _Array | None = None


class _KeyValue(msgspec.Struct, rename="camel"):
    key: str | None = ""
    value: _AnyValue | None = None


class _Resource(msgspec.Struct, rename="camel"):
    attributes: tuple[_KeyValue, ...] | None = ()


class _Scope(msgspec.Struct, rename="camel", gc=False):
    name: str | None = ""
    version: str | None = ""


class _Status(msgspec.Struct, rename="camel", gc=False):
    code: int | str | None = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str | None = ""
    span_id: str | None = ""
    parent_span_id: str | None = ""
    start_time_unix_nano: int | str | None = 0
    end_time_unix_nano: int | str | None = 0
    attributes: tuple[_KeyValue, ...] | None = ()
    status: _Status | None = None


class _ScopeSpans(msgspec.Struct, rename="camel"):
    scope: _Scope | None = None
    spans: tuple[_Span, ...] | None = ()


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: tuple[_ScopeSpans, ...] | None = ()


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: tuple[_ResourceSpans, ...] | None = ()


_decoder = msgspec.json.Decoder(_Request)
_NAMES = frozenset(mark.decode() for mark in MARKS)


def read_json(body: bytes) -> Sent:
    """Read an `ExportTraceServiceRequest` in OTLP's JSON.

    Raises:
        BodyError: It is none.
    """
    if body.count(b"{") > MOST_OBJECTS:
        raise BodyTooLargeError(f"more than {MOST_OBJECTS} objects; send smaller batches")
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(str(error)) from None
    except RecursionError:
        raise BodyError("values within values, deeper than any that is read") from None
    spans: list[SentSpan] = []
    wrong: list[str] = []
    passed_over = 0
    for resource, scope, span in _all_spans(request):
        if not _may_be_call(span):
            passed_over += 1
            continue
        if len(spans) + len(wrong) >= MOST_CALLS:
            raise BodyTooLargeError(f"more than {MOST_CALLS} calls; send smaller batches")
        try:
            spans.append(_sent(span, scope, resource))
        except SpanError as error:
            wrong.append(str(error))
    return Sent(spans=tuple(spans), wrong=tuple(wrong), passed_over=passed_over)


def _all_spans(request: _Request) -> Iterator[tuple[dict[str, Value], _Scope, _Span]]:
    for of_resource in request.resource_spans or ():
        said = of_resource.resource
        resource = _wanted((said.attributes if said else None) or ())
        for of_scope in of_resource.scope_spans or ():
            scope = of_scope.scope or _Scope()
            for span in of_scope.spans or ():
                yield resource, scope, span


def _may_be_call(span: _Span) -> bool:
    return any(attribute.key in _NAMES for attribute in span.attributes or ())


def _sent(span: _Span, scope: _Scope, resource: dict[str, Value]) -> SentSpan:
    return check_span(
        SentSpan(
            scope=(scope.name or "")[:LONGEST_NAME],
            version=(scope.version or "")[:LONGEST_NAME],
            resource=resource,
            trace_id=_id("traceId", span.trace_id),
            span_id=_id("spanId", span.span_id),
            parent_id=_id("parentSpanId", span.parent_span_id),
            started_at_unix_ns=_nanos("startTimeUnixNano", span.start_time_unix_nano),
            ended_at_unix_ns=_nanos("endTimeUnixNano", span.end_time_unix_nano),
            is_error=span.status is not None and span.status.code in _ERROR,
            attributes=_wanted(span.attributes or ()),
        )
    )


def _id(name: str, said: str | None) -> str:
    """Return an id in lower case; one that is all zeros and may be missing as `""`."""
    digits = said or ""
    if len(digits) > LONGEST_NAME or not _HEX.fullmatch(digits):
        raise SpanError(f"{name} is not in hex")
    return digits.lower() if digits.strip("0") or name != "parentSpanId" else ""


def _nanos(name: str, said: int | str | None) -> int:
    number = _integer(said)
    if number is None:
        raise SpanError(f"{name} is no number of nanoseconds")
    return number


def _integer(said: int | str | None) -> int | None:
    """Read a number that may be text; None for what is none, or has more than 64 bits."""
    if isinstance(said, str):
        said = int(said) if _INTEGER.fullmatch(said) else None
    return said if said is None or abs(said) < 1 << 64 else None


def _wanted(attributes: Iterable[_KeyValue]) -> dict[str, Value]:
    """Return the attributes that are read, by name; of two with one name the last."""
    found: dict[str, Value] = {}
    tags = 0
    for attribute in attributes:
        name = attribute.key or ""
        if name not in WANTED:
            if not name.startswith(TAGS) or tags >= MOST_TAGS:
                continue
            tags += 1
        value = _value(attribute.value or _AnyValue())
        if value is not None:
            found[name] = value
    return found


def _value(value: _AnyValue) -> Value | None:
    """Return a value that is read; None for one that is too long, or of another type."""
    if value.string_value is not None:
        return value.string_value if len(value.string_value) <= LONGEST_TEXT else None
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        return _integer(value.int_value)
    if isinstance(value.double_value, int | float):
        return float(value.double_value)
    if value.array_value is not None:
        texts = (value.array_value.values or ())[:MOST_TEXTS]
        return short_texts(text.string_value or "" for text in texts)
    return None
