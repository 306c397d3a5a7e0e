"""What an OTLP body says of spans that may be calls, whatever its encoding; and its limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tollspan import semconv
from tollspan.semconv import foreign
from tollspan.usage import CALL_MARKS, SPAN_ATTRIBUTES, TollspanError

Value = str | int | float | bool | tuple[str, ...]
"""An attribute's value, as far as one is read here."""

OWNERS: Mapping[str, tuple[str, ...]] = {
    "customer": (semconv.TOLLSPAN_CUSTOMER_ID, foreign.TRACELOOP_CUSTOMER_ID),
    "session": (
        semconv.SESSION_ID,
        foreign.LANGFUSE_SESSION_ID,
        foreign.TRACELOOP_SESSION_ID,
        foreign.AI_SESSION_ID,
        semconv.GEN_AI_CONVERSATION_ID,
    ),
    "user": (
        semconv.USER_ID,
        foreign.LANGFUSE_USER_ID,
        foreign.TRACELOOP_USER_ID,
        foreign.AI_USER_ID,
    ),
    "agent": (semconv.GEN_AI_AGENT_NAME,),
    "feature": (semconv.TOLLSPAN_FEATURE,),
    "step": (semconv.TOLLSPAN_STEP,),
    "team": (semconv.TOLLSPAN_TEAM,),
    "project": (semconv.TOLLSPAN_PROJECT,),
}
"""Where a span, or else its resource, says who pays: the first attribute that is there."""
ENVIRONMENTS = (
    semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    foreign.DEPLOYMENT_ENVIRONMENT_OLD,
    foreign.GEN_AI_ENVIRONMENT,
    foreign.LANGFUSE_ENVIRONMENT,
)
TAGS = semconv.TOLLSPAN_TAG_PREFIX
WANTED = frozenset(
    {
        *SPAN_ATTRIBUTES,
        *(name for names in OWNERS.values() for name in names),
        *ENVIRONMENTS,
        semconv.SERVICE_NAME,
        semconv.GEN_AI_TOOL_NAME,
        semconv.TOLLSPAN_CALL_ID,
        semconv.TOLLSPAN_COST_NANOUSD,
        semconv.TOLLSPAN_COST_STATUS,
        semconv.TOLLSPAN_DECISION,
        semconv.TOLLSPAN_USAGE_STATUS,
    }
)
"""The attributes that are read; the others, prompts and answers among them, never leave a body."""
MARKS = CALL_MARKS

MOST_CALLS = 20_000
"""Spans of one body that may be calls, at most."""
LONGEST_TEXT = 4_096
"""Characters of a text that is read, at most; a longer one is not there."""
LONGEST_NAME = 256
"""Characters of a scope's name and version that are read."""
MOST_TEXTS = 64
"""Texts of a list that are read."""
MOST_TAGS = 64
"""Tags of a span that are read."""
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16
_MAX_NANOS = 1 << 63


class BodyError(TollspanError):
    """A body is no OTLP of its encoding; the text says where, what was found and expected."""


class BodyTooLargeError(BodyError):
    """A body has more parts than are read at once; the text says how many are."""


class SpanError(TollspanError):
    """One span is none that can be kept; the text says why. The others of its body are."""


class SentSpan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A span as it was sent, as far as it is read here.

    Attributes:
        scope, version: Its instrumentation scope, `""` where nobody says.
        resource: The attributes of its resource that are read.
        trace_id, span_id: In lower-case hex, never zero.
        parent_id: In lower-case hex, `""` for a root.
        started_at_unix_ns, ended_at_unix_ns: Nanoseconds since the epoch.
        is_error: Its status is an error.
        attributes: Its own attributes that are read.
    """

    scope: str
    version: str = ""
    resource: Mapping[str, Value]
    trace_id: str
    span_id: str
    parent_id: str = ""
    started_at_unix_ns: int
    ended_at_unix_ns: int
    is_error: bool = False
    attributes: Mapping[str, Value]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A body, read.

    Attributes:
        spans: Those that may be calls, in the body's order.
        wrong: Why further ones that may be calls were not read, one text for each.
        passed_over: How many spans are no calls, by their names of attributes alone.
    """

    spans: tuple[SentSpan, ...] = ()
    wrong: tuple[str, ...] = ()
    passed_over: int = 0


def short_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return those of a list's texts that are neither empty nor too long."""
    return tuple(text for text in texts if 0 < len(text) <= LONGEST_TEXT)


def check_span(span: SentSpan) -> SentSpan:
    """Return a span as it is.

    Raises:
        SpanError: Its ids or times are none.
    """
    _check_id("trace_id", span.trace_id, _TRACE_DIGITS)
    _check_id("span_id", span.span_id, _SPAN_DIGITS)
    if span.parent_id:
        _check_id("parent_span_id", span.parent_id, _SPAN_DIGITS)
    started, ended = span.started_at_unix_ns, span.ended_at_unix_ns
    if not 0 < started < _MAX_NANOS:
        raise SpanError(f"start_time_unix_nano is {started}; expected nanoseconds since 1970")
    if not 0 <= ended < _MAX_NANOS:
        raise SpanError(f"end_time_unix_nano is {ended}; expected nanoseconds since 1970")
    return span


def _check_id(name: str, digits: str, length: int) -> None:
    if len(digits) != length:
        raise SpanError(f"{name} has {len(digits) // 2} bytes; expected {length // 2}")
    if not digits.strip("0"):
        raise SpanError(f"{name} is zero")
