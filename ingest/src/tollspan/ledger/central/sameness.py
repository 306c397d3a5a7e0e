"""Whether two that tell of a call tell of the same one. Pure: no clock, no database.

The keys, in order: the call's id; the provider with its answer's id; the span. Then what a
framework's span and an SDK's, or our own event, have in common. Whatever of one kind was told twice
by one instrumentor are two calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from tollspan.usage import OURS, UsageEvent, richness_of

Relation = Literal["same", "perhaps", "other"]
# Of two clocks in one process: a span's end, and a call's start with its duration.
_SLACK_NS: Final = 2_000_000
_OWN_RANK: Final = 1_000
_NEAREST_FIRST: Final[tuple[Relation, ...]] = ("same", "perhaps")
_UNKNOWN: Final = frozenset({"", "unknown"})


class ToldCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as one span tells it.

    Attributes:
        event: The event that it makes, unless the call is known already.
        call_id: The id that the span itself gives its call; None where it gives none.
        scope: Who tells it: an instrumentor tells each call once.
        is_framework: It is told from above an SDK.
        parent_id: The span's parent, in hex; `""` for none.
    """

    event: UsageEvent
    call_id: str | None = None
    scope: str
    is_framework: bool
    parent_id: str = ""


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is kept of who told of a call, to know it again.

    Attributes:
        event_id: The event that the call is counted by.
        event_time_ns: When that event says the call started.
        rank: How much that event tells: of two of one call, the higher one counts.
        cost_nanousd: What it says the call cost, -1 for nothing: of two that tell as much, the
            dearer one counts, so that no total depends on which came first.
        scope: Who told it.
        is_framework: As in `ToldCall`.
        trace_id, span_id, parent_id: In hex, `""` for none.
        call_id: The id that tollspan on the host gave the call; None for none.
        provider, answer: Whose answer it was, and its id; `""` and None where that is not said.
        model: What the answer, or else the request, calls the model; `""` for nothing.
        service: What made the call; None where that is not said.
        since_unix_ns, until_unix_ns: From when to when it was under way.
        tokens: Sums of input and output; None where nothing is known of them.
    """

    event_id: str
    event_time_ns: int
    rank: int
    cost_nanousd: int = -1
    scope: str
    is_framework: bool = False
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    call_id: str | None = None
    provider: str = ""
    answer: str | None = None
    model: str = ""
    service: str | None = None
    since_unix_ns: int
    until_unix_ns: int
    tokens: tuple[int, int] | None = None

    @property
    def is_own(self) -> bool:
        """It is counted by an event of a program's own ledger."""
        return self.rank >= _OWN_RANK

    @property
    def weight(self) -> tuple[int, int]:
        """What is compared of events that tell of one call."""
        return self.rank, self.cost_nanousd


def sighting_of(told: ToldCall) -> Sighting:
    """Return what is kept of a span's call."""
    rank = 2 * richness_of(told.event.usage) + (not told.is_framework)
    return _sighting(
        told.event,
        rank=rank,
        scope=told.scope,
        is_framework=told.is_framework,
        parent_id=told.parent_id,
        call_id=told.call_id,
    )


def own_sighting(event: UsageEvent) -> Sighting:
    """Return what is known of a call by a program's own event."""
    return _sighting(event, rank=_OWN_RANK, scope=OURS, call_id=event.call.id)


def _sighting(
    event: UsageEvent,
    *,
    rank: int,
    scope: str,
    is_framework: bool = False,
    parent_id: str = "",
    call_id: str | None = None,
) -> Sighting:
    call, outcome, usage = event.call, event.outcome, event.usage
    _, trace_id, span_id, _ = (event.traceparent or "---").split("-")
    is_known = usage is not None and usage.status != "unknown"
    return Sighting(
        event_id=call.id,
        event_time_ns=call.started_at_unix_ns,
        rank=rank,
        cost_nanousd=-1 if event.cost.amount_nanousd is None else event.cost.amount_nanousd,
        scope=scope,
        is_framework=is_framework,
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        call_id=call_id,
        provider=call.request.provider,
        answer=outcome.response.id,
        model=outcome.response.model or call.request.model,
        service=call.attribution.service,
        since_unix_ns=call.started_at_unix_ns,
        until_unix_ns=call.started_at_unix_ns + outcome.duration_ns,
        tokens=(usage.input_tokens, usage.output_tokens) if usage and is_known else None,
    )


def relation_of(one: Sighting, other: Sighting) -> Relation:
    """Say whether two tell of the same call."""
    if is_one_span(one, other):
        return "same"
    has_calls = one.call_id is not None and other.call_id is not None
    if has_calls and one.call_id == other.call_id:
        return "same"
    is_same_scope = one.scope == other.scope
    if one.answer is not None and other.answer is not None:
        if one.answer != other.answer:
            return "other"
        # Of a proxy and its client; or a server gives each of its answers the same id.
        is_doubtful = is_same_scope and one.service == other.service
        return "perhaps" if is_doubtful or not _may_be_one_provider(one, other) else "same"
    if has_calls or is_same_scope or not _may_be_one_model(one, other):
        return "other"
    if one.trace_id and one.trace_id == other.trace_id:
        return _in_one_trace(one, other)
    is_told_above = one.is_framework is not other.is_framework
    if not is_told_above or one.service is None or one.service != other.service:
        return "other"
    is_equal = one.tokens is not None and one.tokens == other.tokens and any(one.tokens)
    return "same" if is_equal and _is_within(one, other) else "other"


def _in_one_trace(one: Sighting, other: Sighting) -> Relation:
    is_linked = one.span_id == other.parent_id or other.span_id == one.parent_id
    if not is_linked and not _is_within(one, other):
        return "other"
    if one.tokens == other.tokens:
        return "same"
    if is_linked and (one.tokens is None or other.tokens is None):
        return "same"
    return "perhaps"


def _is_within(one: Sighting, other: Sighting) -> bool:
    """Say whether one call was under way in the course of the other."""
    outer, inner = sorted((one, other), key=lambda each: each.since_unix_ns - each.until_unix_ns)
    return (
        outer.since_unix_ns - _SLACK_NS <= inner.since_unix_ns
        and inner.until_unix_ns <= outer.until_unix_ns + _SLACK_NS
    )


def _may_be_one_model(one: Sighting, other: Sighting) -> bool:
    """Say whether names may be of one model at one provider: `gpt-4o` and `gpt-4o-2024-08-06`."""
    if not _may_be_one_provider(one, other):
        return False
    left, right = one.model.lower(), other.model.lower()
    return left.startswith(right) or right.startswith(left) or bool({left, right} & _UNKNOWN)


def _may_be_one_provider(one: Sighting, other: Sighting) -> bool:
    return one.provider == other.provider or bool({one.provider, other.provider} & _UNKNOWN)


def is_one_span(one: Sighting, other: Sighting) -> bool:
    """Say whether both are of one span."""
    return one.trace_id != "" and (one.trace_id, one.span_id) == (other.trace_id, other.span_id)


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of a sighting.

    Attributes:
        stored: Its event is stored; else it is counted already.
        counted: A sighting of the event that the call is counted by.
        reversed: One sighting of each event that is taken back.
        is_suspected: It may be a call that is counted already.
    """

    stored: bool
    counted: Sighting
    reversed: tuple[Sighting, ...] = ()
    is_suspected: bool = False

    @property
    def of(self) -> str:
        """The id of the event that the call is counted by."""
        return self.counted.event_id


def counted_by(sighting: Sighting, counted: Sighting) -> Sighting:
    """Return a sighting of a call that an event counts."""
    return msgspec.structs.replace(
        sighting,
        event_id=counted.event_id,
        event_time_ns=counted.event_time_ns,
        rank=counted.rank,
        cost_nanousd=counted.cost_nanousd,
    )


def counted_by_own(sighting: Sighting, event_id: str) -> Sighting:
    """Return a sighting of a call that an event of a program's own ledger counts."""
    return msgspec.structs.replace(sighting, event_id=event_id, rank=_OWN_RANK)


def judge(new: Sighting, known: Iterable[Sighting]) -> Verdict:
    """Say what becomes of a sighting, given those that may tell of the same call.

    What has a key in common is the same call, however many events that joins. By likeness it is one
    call at most, of which its scope has not told: of many that are alike each is found once.
    """
    events: dict[str, list[Sighting]] = {}
    for each in known:
        if is_one_span(new, each) and not new.is_own:  # sent again, whatever it says now
            return Verdict(stored=False, counted=each)
        events.setdefault(each.event_id, []).append(each)
    same: list[str] = []
    alike: list[str] = []
    is_suspected = False
    for event_id, told in events.items():
        relation, is_keyed = _relation_to(new, told)
        if relation == "perhaps":
            is_suspected = True
        elif relation == "same":
            (same if is_keyed else alike).append(event_id)
    if not same and alike:
        same.append(min(alike, key=lambda name: _distance(new, events[name])))
    if not same:
        return Verdict(stored=True, counted=new, is_suspected=is_suspected)
    best = [events[name][0] for name in same]  # all of an event have its rank
    first = max(best, key=lambda each: (each.weight, each.event_id))
    if new.weight > first.weight and not first.is_own:
        return Verdict(stored=True, counted=new, reversed=tuple(best))
    others = tuple(each for each in best if each is not first and not each.is_own)
    return Verdict(stored=False, counted=first, reversed=others)


def _relation_to(new: Sighting, told: Sequence[Sighting]) -> tuple[Relation, bool]:
    """Return what a sighting is to an event, and whether a key that both have says so.

    Another call's id, or another answer, is another call, however alike the rest of it is.
    """
    found = {(relation_of(new, each), _has_key(new, each)) for each in told}
    if ("same", True) in found:
        return "same", True
    if any(_is_another(new, each) for each in told):
        return "other", False
    if not _has_told(new, told):
        for relation in _NEAREST_FIRST:
            if (relation, False) in found:
                return relation, False
    return ("perhaps", True) if ("perhaps", True) in found else ("other", False)


def _is_another(one: Sighting, other: Sighting) -> bool:
    """Say whether two have told keys of one kind, of which none is the same."""
    calls = one.call_id is not None and other.call_id is not None
    answers = one.answer is not None and other.answer is not None
    return (calls or answers) and not _has_key(one, other)


def _has_told(new: Sighting, told: Sequence[Sighting]) -> bool:
    """Say whether who tells this has told of an event's call, so that likeness is of another.

    A program's own ledger has told of all that is counted by an event of its.
    """
    return (new.is_own and told[0].is_own) or any(each.scope == new.scope for each in told)


def _has_key(one: Sighting, other: Sighting) -> bool:
    return (
        is_one_span(one, other)
        or (one.call_id is not None and one.call_id == other.call_id)
        or (one.answer is not None and one.answer == other.answer)
    )


def _distance(new: Sighting, told: list[Sighting]) -> tuple[int, int]:
    """Order events that are alike: those linked by their spans first, then the nearest."""
    is_linked = any(
        new.trace_id == each.trace_id
        and (new.parent_id == each.span_id or each.parent_id == new.span_id)
        for each in told
    )
    return (not is_linked, min(abs(new.since_unix_ns - each.since_unix_ns) for each in told))
