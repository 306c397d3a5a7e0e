"""What one call is to its life cycle: who reads it, and what is known of it on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from tollspan.attribution import CallInFlight
from tollspan.budget import Change, Decision
from tollspan.usage import Call, CallDeniedError, DecisionNote, OutcomeStatus, Request, UsageEvent

from ._shapes import Reading, StreamReader
from ._spans import CallSpan, Others, SpanEmitter
from ._timing import Arrivals

Kwargs = dict[str, object]


class Failure(msgspec.Struct, frozen=True):
    """What an exception says of a call.

    Attributes:
        status: How it ended.
        error_type: Low-cardinality id of the error.
        is_maybe_billed: The provider may have done billable work.
        reading: What the answer said that came before the error: the SDK could not parse it, say.
    """

    status: OutcomeStatus
    error_type: str
    is_maybe_billed: bool
    reading: Reading | None = None


class Extractor(Protocol):
    """Reads one way of asking a provider; `asked` is what its wrapper made of the arguments.

    Attributes:
        is_free: The provider takes no money for these calls: they are traced, not gated.
        spans: Starts their spans.
    """

    is_free: bool
    spans: SpanEmitter

    @property
    def others(self) -> Others:
        """Who else makes spans of them."""
        ...

    def request(self, asked: Any) -> Request:
        """Read what is asked."""
        ...

    def details(self, asked: Any) -> Mapping[str, AttributeValue] | None:
        """Return what a span says of the request beyond its `Request`; None for nothing."""
        ...

    def turn(self, asked: Any) -> list[str] | None:
        """Read what was said last, in parts that are hashed at once; None where it can't be."""
        ...

    def prepare(self, request: Request, asked: Any) -> None:
        """Change what is sent where metering needs it; never what belongs to the caller."""
        ...

    def change(self, change: Change, asked: Any) -> bool:
        """Have another model or limit of output sent.

        What belongs to the caller stays as it is. False, and nothing is changed, where the way of
        asking does not allow it.
        """
        ...

    def as_asked(self, error: Exception, asked: Any) -> bool:
        """Put back what was changed, when the provider has not the other model for this caller.

        True to ask once more, for the model that the caller named; it is not changed again.
        """
        ...

    def again(self, error: Exception, asked: Any) -> bool:
        """Take back our change when it is what the provider refused; True to send once more."""
        ...

    def result(self, result: object) -> Reading:
        """Read a whole answer."""
        ...

    def stream(self, request: Request, result: object, asked: Any) -> StreamReader | None:
        """Return a reader when the answer is still to come, as a stream or as bytes; else None."""
        ...

    def failure(self, error: BaseException) -> Failure:
        """Read an exception."""
        ...


UNDECIDED = Decision(note=DecisionNote(), denial=CallDeniedError("the gate has not spoken yet"))
"""The gate has not spoken yet. Nobody gets to see its denial: it has calls looked at again."""
FREE = Decision(note=DecisionNote())
"""Nobody has to ask."""
OUR_FAILURE = Decision(note=DecisionNote(is_unavailable=True))
"""We failed, and the call goes on."""


class Kept(msgspec.Struct):
    """What is known of a call for as long as its answer lives, where somebody may ask for it.

    Attributes:
        call, decision: The call as it was sent, and what the gate said.
        event: What became of it; None until it has ended.
    """

    call: Call
    decision: Decision
    event: UsageEvent | None = None


class Run(msgspec.Struct):
    """One call on its way: what has to be known to account for its end.

    Attributes:
        started_at_ns, decided_at_ns: When the gate was asked and when it had answered, by
            `perf_counter_ns`; the latter is 0 where it was not asked.
        context: What the provider's method runs in, where that is not what is around already.
        arrivals: When the chunks of a stream came.
        kept: What is told of it to whoever asks; None where nobody does.
    """

    call: Call
    flight: CallInFlight
    extractor: Extractor
    started_at_ns: int
    context: Context | None = None
    decision: Decision = UNDECIDED
    span: CallSpan | None = None
    decided_at_ns: int = 0
    arrivals: Arrivals | None = None
    kept: Kept | None = None


StreamProxies = Callable[[object, Run, StreamReader], object]
"""Makes the object that a caller gets in place of a stream."""
