"""Reads OTLP bodies in protobuf, in memory that does not grow with what is in them.

The outer levels are walked in place: what a span takes in memory is many times its size on the wire
(28 times for empty attributes, measured), so no message is made of a span that is no call, and a
large one is made without its events, its links and what no attribute of ours is as long as.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

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

MOST_FIELDS = 500_000
"""Fields of a body that are walked through, at most: a fraction of a second."""
_RESOURCE_SPANS = 1
_RESOURCE, _SCOPE_SPANS = 1, 2
_SCOPE, _SPANS = 1, 2
_ATTRIBUTES, _EVENTS, _LINKS = 9, 11, 13
_LARGE_BYTES = 16_384
_MOST_ATTRIBUTES = 1_024
_MOST_ATTRIBUTE_BYTES = LONGEST_TEXT * 4 + 1_024
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Range = tuple[int, int]


def read_protobuf(body: bytes) -> Sent:
    """Read an `ExportTraceServiceRequest`.

    Raises:
        BodyError: It is none.
    """
    reader = _Reader(body)
    try:
        reader.read()
    except IndexError:
        raise BodyError("the body ends within a field") from None
    except (DecodeError, SpanError) as error:
        raise BodyError(f"a resource or scope: {error}") from None
    return Sent(
        spans=tuple(reader.spans), wrong=tuple(reader.wrong), passed_over=reader.passed_over
    )


class _Reader:
    """Walks one body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = MOST_FIELDS
        self._marks = [mark for mark in MARKS if mark in body]
        self.spans: list[SentSpan] = []
        self.wrong: list[str] = []
        self.passed_over = 0

    def read(self) -> None:
        for number, _, start, end in self._fields(0, len(self._body)):
            if number == _RESOURCE_SPANS:
                self._of_resource(start, end)

    def _of_resource(self, start: int, end: int) -> None:
        resource: _Range | None = None
        scopes: list[_Range] = []
        for number, _, at, until in self._fields(start, end):
            if number == _RESOURCE:
                resource = (at, until)
            elif number == _SCOPE_SPANS:
                scopes.append((at, until))
        said: dict[str, Value] | None = None
        for at, until in scopes:
            scope, spans = self._spans_of(at, until)
            calls = [(left, right) for left, right in spans if self._may_be_call(left, right)]
            self.passed_over += len(spans) - len(calls)
            if not calls:
                continue
            if said is None:
                said = self._resource(resource)
            name, version = self._scope(scope)
            for left, right in calls:
                self._take(left, right, name, version, said)

    def _spans_of(self, start: int, end: int) -> tuple[_Range | None, list[_Range]]:
        scope: _Range | None = None
        spans: list[_Range] = []
        for number, _, at, until in self._fields(start, end):
            if number == _SPANS:
                spans.append((at, until))
            elif number == _SCOPE:
                scope = (at, until)
        return scope, spans

    def _may_be_call(self, start: int, end: int) -> bool:
        find = self._body.find
        return any(find(mark, start, end) >= 0 for mark in self._marks)

    def _resource(self, at: _Range | None) -> dict[str, Value]:
        if at is None:
            return {}
        return _wanted(Resource.FromString(self._message(*at, kept=1)).attributes)

    def _scope(self, at: _Range | None) -> tuple[str, str]:
        if at is None or at[1] - at[0] > _LARGE_BYTES:
            return "", ""
        scope = InstrumentationScope.FromString(self._body[at[0] : at[1]])
        return scope.name[:LONGEST_NAME], scope.version[:LONGEST_NAME]

    def _take(
        self, start: int, end: int, scope: str, version: str, resource: dict[str, Value]
    ) -> None:
        if len(self.spans) + len(self.wrong) >= MOST_CALLS:
            raise BodyTooLargeError(f"more than {MOST_CALLS} calls; send smaller batches")
        try:
            span = Span.FromString(self._message(start, end, kept=_ATTRIBUTES))
            self.spans.append(
                check_span(
                    SentSpan(
                        scope=scope,
                        version=version,
                        resource=resource,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
                        started_at_unix_ns=span.start_time_unix_nano,
                        ended_at_unix_ns=span.end_time_unix_nano,
                        is_error=span.status.code == Status.STATUS_CODE_ERROR,
                        attributes=_wanted(span.attributes),
                    )
                )
            )
        except (SpanError, DecodeError) as error:
            self.wrong.append(str(error))

    def _message(self, start: int, end: int, *, kept: int) -> bytes:
        """Return a message's bytes; of a large one without what is read nowhere.

        Args:
            start: Where it begins in the body.
            end: Where it ends.
            kept: The number of its attributes' field.
        """
        body = self._body
        if end - start <= _LARGE_BYTES:
            return body[start:end]
        parts: list[bytes] = []
        attributes = 0
        done = start
        for number, begin, at, until in self._fields(start, end):
            attributes += number == kept
            if attributes > _MOST_ATTRIBUTES:
                raise SpanError(f"it has more than {_MOST_ATTRIBUTES} attributes")
            if number in (_EVENTS, _LINKS) or until - at > _MOST_ATTRIBUTE_BYTES:
                parts.append(body[done:begin])
                done = until
        parts.append(body[done:end])
        return b"".join(parts)

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield each field that is bytes, and pass over the others.

        Yields:
            The field's number, where it begins, and from where to where its bytes are.

        Raises:
            BodyError: There is no field where one should be.
        """
        body = self._body
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise BodyTooLargeError(f"more than {MOST_FIELDS} fields; send smaller batches")
            begin, tag = at, body[at]
            at += 1
            if tag > 127:
                tag, at = _varint(body, at - 1)
            kind = tag & 7
            if kind == _BYTES:
                size = body[at]
                at += 1
                if size > 127:
                    size, at = _varint(body, at - 1)
                start, at = at, at + size
                if at <= end:
                    yield tag >> 3, begin, start, at
            elif kind == _VARINT:
                _, at = _varint(body, at)
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                raise BodyError(f"a field of wire type {kind} at byte {at}; expected 0, 1, 2 or 5")
            if at > end:
                raise BodyError(f"a field goes on to byte {at}, what it is in ends at {end}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number and where the next field begins."""
    number = shift = 0
    while shift < 70:
        byte = body[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise BodyError(f"a number of more than 10 bytes, at byte {at}")


def _wanted(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    """Return the attributes that are read, by name; of two with one name the last."""
    found: dict[str, Value] = {}
    tags = 0
    for attribute in attributes:
        name = attribute.key
        if name not in WANTED:
            if not name.startswith(TAGS) or tags >= MOST_TAGS:
                continue
            tags += 1
        value = _value(attribute.value)
        if value is not None:
            found[name] = value
    return found


def _value(value: AnyValue) -> Value | None:
    """Return a value that is read; None for one that is too long, or of another type."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text = value.string_value
        return text if len(text) <= LONGEST_TEXT else None
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "double_value":
        return value.double_value
    if kind == "array_value":
        return short_texts(item.string_value for item in value.array_value.values[:MOST_TEXTS])
    return None
