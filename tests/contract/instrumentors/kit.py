"""What a kit says of one surface of an SDK: how it is called, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from tests.fakes.provider import FakeProvider
from tollspan.instrumentation._stainless import Sdk

Options = Mapping[str, Any]


class Found(BaseModel):
    """A shape to parse an answer into."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What the streams of a surface are like.

    Attributes:
        kinds: The SDK's classes, synchronous and asynchronous.
        piece: The text of one chunk, "" for none.
        is_input_reported: The provider says at the start how large the input is.
        says_usage_unasked: Nobody has to ask for the usage, and nothing is hidden.
        thinking: What makes a model reason out of sight, in the `call` or in the provider's
            `reply`; None where there is no such model.
        event_error: `error.type` of an error event in mid-stream: the exception that it becomes,
            or the provider's own word where it becomes none.
        wraps_transport_errors: What the transport raises in mid-stream arrives as the SDK's own.
    """

    kinds: tuple[type, type]
    piece: Callable[[Any], str]
    is_input_reported: bool = False
    says_usage_unasked: bool = False
    thinking: Options | None = None
    event_error: str = "APIError"
    wraps_transport_errors: bool = True

    @property
    def hides_from_isinstance(self) -> bool:
        """Its `isinstance` takes nothing but the very class: Anthropic's SDK of 2025."""
        kind = type(self.kinds[0])
        return kind is not type and "__instancecheck__" in vars(kind)

    @property
    def raises_event_errors(self) -> bool:
        """An error event becomes an exception."""
        return self.event_error.endswith("Error")


@dataclass(frozen=True, kw_only=True)
class Helper:
    """The SDK's own helper over a stream.

    Attributes:
        asked: What it takes beside the usual.
        final: Name of the method that returns the whole answer.
        final_text: The text of that.
        delta: The text of one of its events, "" for none.
        resource: Where a client has it; None for the surface's own place.
    """

    final: str
    final_text: Callable[[Any], str]
    delta: Callable[[Any], str]
    asked: Options = field(default_factory=dict)
    resource: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parse:
    """The SDK's way to have an answer parsed.

    Attributes:
        schema: Name of the argument that takes the shape.
        parsed: What was parsed.
        resource: Where a client has it; None for the surface's own place.
        missing: Why this version of the SDK can't do it; None when it can.
    """

    schema: str
    parsed: Callable[[Any], object]
    resource: str | None = None
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class Other:
    """Somebody else's instrumentor.

    Attributes:
        name: For people.
        module: Where its class is.
        kind: Its class.
        scope: The scope of its spans.
        replaces_funnel: It overrides the SDK's request function in the clients' classes, and calls
            the one that it found there: over ours, if it came later, else past it. A known gap.
    """

    name: str
    module: str
    kind: str
    scope: str
    replaces_funnel: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Kit:
    """One surface of an SDK.

    Attributes:
        name: For people.
        sdk: What the gate knows of the SDK.
        package: The SDK.
        fake: The fake provider that speaks its protocol.
        clients: The SDK's classes, synchronous and asynchronous.
        address: From a server's address to what a client takes to find it there.
        resource: Where a client has the methods.
        asked: A call that writes some 60 tokens at most.
        unsendable: Makes it one that the SDK can't send.
        invalid: Makes an answer one that strict validation refuses; None where nothing does.
        failed: Makes an answer one that says it failed, where there is such a thing.
        most_output: The call's output limit, 0 where it writes nothing.
        answer: The SDK's class of answers.
        text: The text of an answer, None where there is none.
        provider, operation, model, served_model: What the event and the span say.
        stands_for_others: Where there are very many cases, it is tried with all of them and both
            kinds of client, and its kin is not.
        others: Instrumentors of other people for this surface.
        attributes: What a span has beyond that of all kits: name → type.
    """

    name: str
    sdk: Sdk
    package: ModuleType
    fake: Callable[..., FakeProvider]
    clients: tuple[type, type]
    address: Callable[[str], Options]
    resource: str
    asked: Options
    unsendable: Options
    invalid: Options | None
    most_output: int
    answer: type
    text: Callable[[Any], str] | None
    provider: str
    operation: str
    model: str
    served_model: str
    attributes: Mapping[str, type] = field(default_factory=dict)
    failed: Options | None = None
    stands_for_others: bool = False
    others: tuple[Other, ...] = ()
    streams: Streams | None = None
    helper: Helper | None = None
    parse: Parse | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def has_native_spans(self) -> bool:
        """The SDK makes a span of each call itself, unless it is told not to."""
        return self.sdk.has_native_span is not None and self.version >= (2, 0)

    @property
    def version(self) -> tuple[int, ...]:
        """The SDK's version."""
        return tuple(int(part) for part in self.package.__version__.split(".")[:2])
