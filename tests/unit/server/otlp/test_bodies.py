"""OTLP bodies: both encodings say the same, and no body breaks or fills the server."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.unit.server.otlp.bodies import CHAT, STARTED, json_body, protobuf_body, span
from tollspan.server.otlp import (
    BodyError,
    BodyTooLargeError,
    Sent,
    read_json,
    read_protobuf,
)

Writer = Callable[..., bytes]
Reader = Callable[[bytes], Sent]
ENCODINGS = [
    pytest.param(protobuf_body, read_protobuf, id="protobuf"),
    pytest.param(json_body, read_json, id="JSON"),
]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4),
)
NAMES = st.sampled_from([*CHAT, "input.value", "tollspan.tag.tier", "tollspan.customer.id", "x"])


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=4), st.booleans())
def test_both_encodings_say_the_same(said: list[dict[str, object]], is_error: bool) -> None:
    status = {"code": 2 if is_error else 0}
    spans = [
        span(number, attributes={**CHAT, **one}, status=status, parentSpanId=f"{9:016x}")
        for number, one in enumerate(said, 1)
    ]
    resource: dict[str, object] = {"service.name": "shop", "host.name": "a"}
    from_json = read_json(json_body(*spans, resource=resource))
    assert read_protobuf(protobuf_body(*spans, resource=resource)) == from_json
    assert len(from_json.spans) == len(said)


@pytest.mark.parametrize(("write", "read"), ENCODINGS)
def test_what_is_read_is_what_calls_are_made_of_and_no_content(write: Writer, read: Reader) -> None:
    attributes = {**CHAT, "input.value": "secret", "gen_ai.input.messages": "secret"}
    sent = read(write(span(attributes=attributes, status={"code": 2})))
    (found,) = sent.spans
    assert (found.scope, found.version) == ("opentelemetry.instrumentation.genai.openai", "1.3b0")
    assert (found.trace_id, found.span_id, found.parent_id) == (f"{1:032x}", f"{1:016x}", "")
    assert (found.started_at_unix_ns, found.ended_at_unix_ns) == (STARTED, STARTED + 10**9)
    assert found.is_error
    assert found.resource == {"service.name": "web"}
    assert found.attributes == {**CHAT, "gen_ai.response.finish_reasons": ("stop",)}


@pytest.mark.parametrize(("write", "read"), ENCODINGS)
def test_spans_that_are_no_calls_are_passed_over(write: Writer, read: Reader) -> None:
    others = [span(n, attributes={"http.request.method": "POST"}) for n in range(2, 5)]
    sent = read(write(span(), *others))
    assert (len(sent.spans), sent.passed_over, sent.wrong) == (1, 3, ())
    assert read(write(*others)) == Sent(passed_over=3)


@pytest.mark.parametrize(("write", "read"), ENCODINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": "ab"},
        {"traceId": "0" * 32},
        {"spanId": ""},
        {"spanId": "0" * 16},
        {"parentSpanId": "abcd"},
        {"startTimeUnixNano": "0"},
        {"endTimeUnixNano": str((1 << 64) - 1)},
    ],
    ids=str,
)
def test_a_wrong_span_takes_no_other_with_it(
    write: Writer, read: Reader, changes: dict[str, Any]
) -> None:
    sent = read(write(span(1), span(2, **changes), span(3)))
    assert [found.trace_id for found in sent.spans] == [f"{1:032x}", f"{3:032x}"]
    assert len(sent.wrong) == 1


@pytest.mark.parametrize(("write", "read"), ENCODINGS)
def test_a_root_may_have_a_parent_of_zeros(write: Writer, read: Reader) -> None:
    assert read(write(span(parentSpanId="0" * 16))).spans[0].parent_id == ""


@pytest.mark.parametrize(("write", "read"), ENCODINGS)
def test_a_large_span_says_what_a_small_one_says(write: Writer, read: Reader) -> None:
    small = read(write(span()))
    prompts = {f"gen_ai.prompt.{n}": "x" * 30_000 for n in range(20)}
    events = ["x" * 20_000] * 3
    large = read(
        write(span(attributes={**prompts, **CHAT, "input.value": "y" * 10**6}, events=events))
    )
    assert large == small


def test_json_of_other_writers_is_read() -> None:
    body = json_body(span(status={"code": "STATUS_CODE_ERROR"}))
    said = json.loads(body)
    said["future"] = {"field": [1, {"deep": None}]}
    (of_resource,) = said["resourceSpans"]
    (one,) = of_resource["scopeSpans"][0]["spans"]
    one |= {"startTimeUnixNano": STARTED, "traceId": one["traceId"].upper(), "parentSpanId": None}
    one["attributes"] += [
        {"key": "gen_ai.usage.reasoning.output_tokens", "value": {"intValue": 3}},
        {"key": "server.port", "value": None},
        {"key": "user.id", "value": {"kvlistValue": {"values": []}}},
        {"key": "gen_ai.request.max_tokens", "value": {"doubleValue": "NaN"}},
    ]
    (found,) = read_json(json.dumps(said).encode()).spans
    assert found.is_error
    assert found.attributes["gen_ai.usage.reasoning.output_tokens"] == 3
    assert not {"server.port", "user.id", "gen_ai.request.max_tokens"} & set(found.attributes)


def test_json_without_anything_in_it_is_read() -> None:
    assert read_json(b"{}") == read_json(b'{"resourceSpans": null}') == Sent()
    assert read_protobuf(b"") == Sent()


@pytest.mark.parametrize(
    ("read", "body"),
    [
        pytest.param(read_protobuf, b"\x0a", id="no length"),
        pytest.param(read_protobuf, b"\x0a\x05ab", id="short"),
        pytest.param(read_protobuf, b"\xff" * 12, id="a number without an end"),
        pytest.param(read_protobuf, b"\x0b", id="a group"),
        pytest.param(read_protobuf, b"<html>", id="HTML"),
        pytest.param(read_protobuf, b'{"resourceSpans":[]}', id="JSON as protobuf"),
        pytest.param(read_json, b"", id="nothing"),
        pytest.param(read_json, b"[]", id="a list"),
        pytest.param(read_json, b'{"resourceSpans": 1}', id="a number"),
        pytest.param(read_json, b"\xff\xfe", id="no UTF-8"),
        pytest.param(read_json, protobuf_body(span()), id="protobuf as JSON"),
        pytest.param(read_json, b'{"x":' + b"[" * 10**6, id="arrays without an end"),
        pytest.param(read_json, b'{"x":' + b"[" * 10**6 + b"]" * 10**6 + b"}", id="deep arrays"),
    ],
)
def test_what_is_no_otlp_is_refused(read: Reader, body: bytes) -> None:
    with pytest.raises(BodyError):
        read(body)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(body: bytes) -> None:
    for read in (read_protobuf, read_json):
        with contextlib.suppress(BodyError):
            read(body)


@given(st.data())
def test_no_damage_to_a_body_breaks_the_readers(data: st.DataObject) -> None:
    write, read = data.draw(
        st.sampled_from([(protobuf_body, read_protobuf), (json_body, read_json)])
    )
    body = bytearray(write(span(1), span(2)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(0, len(body))) :]
    with contextlib.suppress(BodyError):
        read(bytes(body))


def nested(depth: int) -> bytes:
    """A span whose attribute is a list in a list in …"""
    request = ExportTraceServiceRequest.FromString(protobuf_body(span()))
    value = AnyValue(string_value="x").SerializeToString()
    for _ in range(depth):
        for tag in (b"\x0a", b"\x2a"):
            value = tag + _varint(len(value)) + value
    keyed = b"\x0a\x01x\x12" + _varint(len(value)) + value
    one = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    one += b"\x4a" + _varint(len(keyed)) + keyed
    for tag in (b"\x12", b"\x12", b"\x0a"):
        one = tag + _varint(len(one)) + one
    return one


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def test_values_in_values_are_one_wrong_span() -> None:
    assert len(read_protobuf(nested(20)).spans) == 1
    assert len(read_protobuf(nested(1_000)).wrong) == 1


HOSTILE = [
    pytest.param(read_protobuf, b"\x0a\x00" * (2 << 20), id="empty resources"),
    pytest.param(
        read_protobuf,
        b"\x0a\x84\x80\x80\x02\x12\x80\x80\x80\x02" + b"\x12\x00" * (2 << 20),
        id="empty spans",
    ),
    pytest.param(read_json, b'{"resourceSpans":[' + b"{}," * (1 << 20) + b"{}]}", id="objects"),
    pytest.param(
        read_json,
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 490_000 + b"{}]}]}]}",
        id="as many empty spans as are read",
    ),
    pytest.param(
        read_json, b'{"resourceSpans":[' + b"[],null," * (1 << 20) + b"{}]}", id="no objects"
    ),
    pytest.param(read_json, json_body(*[span(n) for n in range(1, 20_010)]), id="calls"),
    pytest.param(read_protobuf, protobuf_body(*[span(n) for n in range(1, 20_010)]), id="calls"),
]


@pytest.mark.parametrize(("read", "body"), HOSTILE)
def test_a_body_of_nothing_takes_neither_memory_nor_time(read: Reader, body: bytes) -> None:
    tracemalloc.start()
    began = time.thread_time()
    try:
        read(body)
    except BodyError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 150 << 20
    assert time.thread_time() - began < 15  # tracing makes it ten times slower


def test_too_many_parts_are_refused_as_too_large() -> None:
    with pytest.raises(BodyTooLargeError, match="smaller batches"):
        read_protobuf(b"\x0a\x00" * 600_000)
    with pytest.raises(BodyTooLargeError, match="smaller batches"):
        read_json(b'{"resourceSpans":[' + b"{}," * 600_000 + b"{}]}")


def test_a_span_of_endless_attributes_is_one_wrong_span() -> None:
    many: dict[str, object] = {f"k{n}": n for n in range(5_000)}
    sent = read_protobuf(protobuf_body(span(1, attributes={**CHAT, **many}), span(2)))
    assert (len(sent.spans), len(sent.wrong)) == (1, 1)
