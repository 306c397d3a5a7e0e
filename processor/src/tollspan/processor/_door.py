"""Takes calls that only other people's spans tell of through the gate, and into the books.

What our own hooks at an SDK see is theirs: a span over such a call is never charged here.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from tollspan.budget import CallSink, Closing, Decision, Gate
from tollspan.usage import (
    OURS,
    Attribution,
    Call,
    CallDeniedError,
    DecisionEvent,
    ForeignSpan,
    UsageEvent,
    foreign_call,
    foreign_outcome,
    named,
    read_span,
    refusal,
    traceparent,
)

Key = tuple[int, int]
"""Trace id and span id."""
_MOST_LIVE = 10_000
_MOST_RECENT = 1_000
# Of two clocks: a call's end is told by its start and a duration.
_SLACK_NS = 2_000_000
_DUPLICATE = "suspected_duplicate"


class Spoken(Protocol):
    """What a span says of itself."""

    @property
    def scope(self) -> str:
        """The name of its instrumentation scope."""
        ...

    @property
    def attributes(self) -> Mapping[str, object]:
        """Its attributes by now."""
        ...


class Known(msgspec.Struct, frozen=True):
    """A call that was metered, as far as it helps to know it again."""

    call_id: str
    scope: str
    provider: str
    response_id: str | None
    since_unix_ns: int
    until_unix_ns: int
    input_tokens: int
    output_tokens: int


class Held(msgspec.Struct, frozen=True):
    """What our own hooks see in this process.

    Attributes:
        sdks: The packages that they stand in.
        providers: Whose calls may pass there.
    """

    sdks: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()


class Recent:
    """The calls that were metered last, whoever saw them. Safe for threads."""

    def __init__(self) -> None:
        self._calls: deque[Known] = deque(maxlen=_MOST_RECENT)

    def record(self, event: UsageEvent, scope: str = OURS) -> None:
        """Keep a call in mind, and who told of it."""
        usage, started = event.usage, event.call.started_at_unix_ns
        self._calls.append(
            Known(
                event.call.id,
                scope,
                event.call.request.provider,
                event.outcome.response.id,
                started,
                started + event.outcome.duration_ns,
                usage.input_tokens if usage is not None else 0,
                usage.output_tokens if usage is not None else 0,
            )
        )

    def find(self, found: ForeignSpan, since_unix_ns: int, until_unix_ns: int) -> tuple[bool, bool]:
        """Say whether a span's call was metered, and else whether it may have been.

        The same answer's id, or the same tokens at the same provider within the span, as somebody
        else tells it: the same call. Another number of tokens: perhaps. What one instrumentor tells
        twice are two calls.
        """
        response_id, usage = found.response.id, found.usage
        may_be = False
        if usage is None:
            return False, False
        tokens = usage.input_tokens, usage.output_tokens
        for known in reversed(self._calls):
            if response_id is not None and known.response_id == response_id:
                return True, False
            is_within = (
                since_unix_ns <= known.since_unix_ns
                and known.until_unix_ns <= until_unix_ns + _SLACK_NS
                and found.provider in ("", known.provider)
            )
            has_other_id = response_id is not None and known.response_id is not None
            if not is_within or has_other_id or known.scope == found.dialect.scope:
                continue
            if tokens == (known.input_tokens, known.output_tokens):
                return True, False
            may_be = True
        return False, may_be


class _Live(msgspec.Struct):
    """A call that a span tells of and that has not ended: the outermost span's, and all within."""

    key: Key
    call: Call
    started_at_unix_ns: int
    decision: Decision | None
    told: list[ForeignSpan]


class Started(msgspec.Struct, frozen=True):
    """What the gate said of a span's call.

    Attributes:
        call_id: The call; None for what is no call, or is asked for elsewhere.
        denial: Why it is refused.
    """

    call_id: str | None = None
    denial: CallDeniedError | None = None


_NOTHING = Started()


class Door:
    """Asks for, and accounts for, what spans of others tell. Safe for threads.

    Spans may end anywhere, in a finaliser too: no lock is taken there, and what is to be stored is
    handed over. A process that is killed before leaves the call's hold as evidence.

    Attributes:
        goes_by_traces: Some rule in force has an account for each trace.

    Args:
        gate: Decides.
        sink: Accounts.
        note: Keeps refusals.
        attribution: Who pays here.
        later: Does a job in another thread, after those that were handed over before.
        held: What our own hooks see in this process.
        tell: Is told of each event.
        sight: Counts what was refused and goes on all the same.
        asks: False only meters: nothing is held, and nothing is refused.
    """

    def __init__(  # noqa: PLR0913 - what a door needs, all by keyword
        self,
        *,
        gate: Gate,
        sink: CallSink,
        note: Callable[[DecisionEvent], None],
        attribution: Callable[[], Attribution],
        later: Callable[[Callable[[], None]], None],
        held: Callable[[], Held],
        tell: Callable[[UsageEvent], None],
        sight: Callable[[str, str], None],
        asks: bool = True,
    ) -> None:
        self._gate = gate
        self._sink = sink
        self._note = note
        self._attribution = attribution
        self._later = later
        self._held = held
        self._tell = tell
        self._sight = sight
        self._asks = asks
        self.goes_by_traces = False
        self._live: dict[Key, _Live] = {}
        self.recent = Recent()

    def start(self, span: Spoken, key: Key, parent: Key | None, started_at_unix_ns: int) -> Started:
        """Take note of a span that starts, and ask for its call."""
        live = self._live
        outer = live.get(parent) if parent is not None and live else None
        if outer is not None:  # of the same call, or of its HTTP request
            live[key] = outer
            return _NOTHING if outer.decision is None else Started(outer.call.id)
        found = read_span(span.scope, span.attributes)
        if found is None or self._is_held(found):
            return _NOTHING
        call = foreign_call(
            found,
            *key,
            started_at_unix_ns=started_at_unix_ns,
            attribution=self._whose(key),
            door="processor",
        )
        decision: Decision | None = None
        if self._asks and not self._may_be_held(found):
            decision = self._gate.authorize(call)
            if decision.denial is not None and not found.dialect.swallows:
                return Started(call.id, self._refuse(call, decision, decision.denial, key))
            if decision.denial is not None:
                decision = self._go_on(found, call, decision.denial)
        if len(live) >= _MOST_LIVE:  # the oldest never ended: what it holds stays counted
            with contextlib.suppress(RuntimeError, KeyError, StopIteration):
                del live[next(iter(live))]
        live[key] = _Live(key, call, started_at_unix_ns, decision, [])
        return _NOTHING if decision is None else Started(call.id)

    def end(
        self,
        span: Spoken,
        key: Key,
        started_at_unix_ns: int,
        ended_at_unix_ns: int,
        *,
        is_error: bool,
    ) -> None:
        """Account for the call of a span that ended, when it is the outermost one of its call."""
        live = self._live.pop(key, None)
        found = read_span(span.scope, span.attributes)
        if found is not None and self._is_held(found) and (live is None or live.decision is None):
            return  # else it was asked for here, before hooks of ours stood there
        if live is None and found is not None and found.usage is not None:
            live = self._unseen(found, key, started_at_unix_ns)
        if live is None:
            return
        if found is not None:
            live.told.append(found)
        if live.key == key and live.told:
            self._account(live, ended_at_unix_ns, is_error=is_error)

    def leave(self, key: Key) -> None:
        """Give back what was held for a span's call, which a hook of ours asks and accounts for."""
        live = self._live.pop(key, None) if self._live else None
        if live is not None and live.key == key and live.decision is not None:
            call_id = live.call.id
            self._later(lambda: self._gate.abandon(call_id))

    def see(self, event: UsageEvent) -> None:
        """Keep a call in mind that our own hooks have seen."""
        if event.call.door != "processor":
            self.recent.record(event)

    def knows(self, found: ForeignSpan, started_at_unix_ns: int, ended_at_unix_ns: int) -> bool:
        """Say whether the call of a span is seen by our own hooks, or was metered already."""
        return self._is_held(found) or any(
            self.recent.find(found, started_at_unix_ns, ended_at_unix_ns)
        )

    def forget(self) -> None:
        """Start anew in a forked child: what is under way is the parent's."""
        self._live = {}
        self.recent = Recent()

    # -- inside --

    def _whose(self, key: Key) -> Attribution:
        """Capture who pays for the call of a span, and where rules need it, the span's trace."""
        found = self._attribution()
        if not self.goes_by_traces:
            return found
        return msgspec.structs.replace(found, trace=f"{key[0]:032x}")

    def _is_held(self, found: ForeignSpan) -> bool:
        """Say whether our own hooks see this call: the span is of an SDK of theirs."""
        sdk = found.dialect.sdk
        return sdk is not None and sdk in self._held().sdks

    def _may_be_held(self, found: ForeignSpan) -> bool:
        """Say whether a framework's call may reach our own hooks: then they ask the gate."""
        held = self._held()
        if not held.sdks:
            return False
        return not found.provider or found.provider in held.providers

    def _go_on(self, found: ForeignSpan, call: Call, denial: CallDeniedError) -> Decision:
        """Let a refused call go on whose instrumentor would go on anyway: it is paid for."""
        self._sight("not_enforced", found.dialect.name)
        rule_ids = (denial.rule_id,) if denial.rule_id is not None else ()
        let = self._gate.spent(call)
        note = msgspec.structs.replace(let.note, action="shadow", rule_ids=rule_ids)
        return msgspec.structs.replace(let, note=note)

    def _refuse(
        self, call: Call, decision: Decision, denial: CallDeniedError, key: Key
    ) -> CallDeniedError:
        denial.source = "foreign_span"
        self._note(refusal(call, decision.note, denial, traceparent(*key)))
        return denial

    def _unseen(self, found: ForeignSpan, key: Key, started_at_unix_ns: int) -> _Live:
        """Return the call of a span whose start told nothing yet of what it is."""
        call = foreign_call(
            found,
            *key,
            started_at_unix_ns=started_at_unix_ns,
            attribution=self._whose(key),
            door="processor",
        )
        return _Live(key, call, started_at_unix_ns, None, [])

    def _account(self, live: _Live, ended_at_unix_ns: int, *, is_error: bool) -> None:
        found = max(live.told, key=lambda each: each.richness)
        decision = live.decision
        if decision is None and found.usage is None:
            return  # nobody was asked, and nothing is known to be used
        self._later(lambda: self._close(live, found, ended_at_unix_ns, is_error=is_error))

    def _close(
        self, live: _Live, found: ForeignSpan, ended_at_unix_ns: int, *, is_error: bool
    ) -> None:
        """Post what was used, unless it was metered already."""
        call, decision = named(live.call, found), live.decision
        is_known, may_be = self.recent.find(found, live.started_at_unix_ns, ended_at_unix_ns)
        if is_known:
            if decision is not None:
                self._gate.abandon(call.id)
            return
        outcome, usage = foreign_outcome(
            found, duration_ns=ended_at_unix_ns - live.started_at_unix_ns, is_error=is_error
        )
        if decision is None:
            decision = self._gate.spent(call)
        event = self._sink.close(
            Closing(
                call,
                decision,
                usage,
                outcome,
                traceparent(*live.key),
                marks=(_DUPLICATE,) if may_be else (),
            )
        )
        self.recent.record(event, found.dialect.scope)
        self._tell(event)
