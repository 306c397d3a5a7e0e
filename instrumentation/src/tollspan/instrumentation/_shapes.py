"""API shapes: pure functions from the JSON of a request and an answer to our values.

A shape reads the body of a request as it will be sent, and an answer either as the SDK's object or
as a `View` of its JSON: both give their fields as attributes. No span, no clock, no I/O, no SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec

from tollspan.usage import Request, Response, Usage

from ._hosts import Route

if TYPE_CHECKING:
    from ._stream import Watch

_WORD = re.compile("[a-z_]{1,40}")


class Reading(msgspec.Struct, frozen=True):
    """What a provider's answer says.

    Attributes:
        usage: What was used, `unknown` where it does not say; None where nothing is billed.
        response: What it says of itself.
        is_incomplete: More may have been used than the usage says.
        error_type: The provider's word for why it failed, where it says so without the SDK raising
            anything; low-cardinality.
        calls: How many requests it was, where that was not known when they were made.
    """

    usage: Usage | None
    response: Response
    is_incomplete: bool = False
    error_type: str | None = None
    calls: int | None = None


UNREAD = Reading(Usage(status="unknown"), Response())
"""What is said of an answer that can't be read."""


class StreamReader(Protocol):
    """Reads a stream's events as they pass; nothing here may raise.

    Whoever passes events on appends each to `kept`. Only an event that has something in its member
    `sign`, and the one that makes `kept` as long as `look_at`, is shown to `look`: the others cost
    no call.

    Attributes:
        kept: The events that nobody has read yet; always the same list.
        sign: Name of the member that makes an event worth a look, when it is not None.
        look_at: Length of `kept` at which a look is due; 1 until the first event came.
        first_chunk_at_ns: When the first event came, by `perf_counter_ns`.
    """

    kept: list[object]
    sign: str
    look_at: int
    first_chunk_at_ns: int | None

    def look(self, chunk: object) -> bool:
        """Take note of an event that was kept; True when it must be hidden from the caller."""
        ...

    def is_whole(self) -> bool:
        """Say whether the provider has said everything: what comes after it changes nothing."""
        ...

    def read(self) -> Reading:
        """Say what the events said: reported if the provider did, estimated if not."""
        ...


class Attached:
    """A reader that takes the answer by itself, and says what the caller gets in its place."""

    def attach(self, result: object, watch: Watch) -> object:
        """Take the answer of the call that a watch is of; return what the caller gets."""
        raise NotImplementedError


class Ending(Attached):
    """One that knows better than its life cycle what the end of the program means for its call."""

    def finish(self) -> None:
        """Account for the end: nothing more will come."""
        raise NotImplementedError


class Shape(Protocol):
    """One API shape, `chat/completions` say.

    Attributes:
        is_free: The provider takes no money for it.
    """

    is_free: ClassVar[bool]

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked; what is not there may be a server's own default.

        Args:
            body: The JSON object that will be sent; its values may be the SDK's objects, and what
                is not given may be there as the SDK's `NotGiven` or `Omit`.
            route: Where it is sent.
            is_stream: The SDK was asked for a stream.
        """
        ...

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:
        """Return the fields of a body by which it asks for no more output than a request has.

        Those alone that differ from the body's own; None where it can't be limited so.
        """
        ...

    def answer(self, answer: Any) -> Reading:
        """Read a whole answer: the SDK's object, or a `View` of its JSON."""
        ...

    def reader(self, request: Request, *, hides_usage: bool) -> StreamReader:
        """Return a reader of the events that answer a request.

        Args:
            request: What was asked.
            hides_usage: The caller did not ask for the event that only says the usage.
        """
        ...


class View:
    """Attribute access to the JSON of an answer, as the SDK's objects have it; None for no field.

    `View(document)`, with lists of objects as lists of views. A field that holds a JSON object is a
    view, whose `__dict__` is not its fields: read them by name.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return view(self._fields.get(name))

    def fields_of_view(self) -> Mapping[str, object]:
        """Return the JSON object behind it."""
        return self._fields


def view(value: object) -> object:
    """Return a value of JSON with its objects as views."""
    if isinstance(value, dict):
        return View(cast("dict[str, object]", value))
    if isinstance(value, list):
        return [view(item) for item in cast("list[object]", value)]
    return value


def fields(value: object) -> Mapping[str, object]:
    """Return what an object of an answer has in it by name: JSON, a view, or the SDK's object.

    A miss among an SDK object's attributes costs microseconds; here it costs nothing.
    """
    try:
        found: dict[str, object] = value.__dict__
    except AttributeError:
        if isinstance(value, View):
            return value.fields_of_view()
        return cast("dict[str, object]", value) if isinstance(value, dict) else {}
    extra = getattr(value, "__pydantic_extra__", None)
    return {**found, **extra} if extra else found


def error_word(*words: object) -> str:
    """Return the first that may be a provider's word for a kind of error; `error` for none."""
    for word in words:
        if isinstance(word, str) and _WORD.fullmatch(word):
            return word
    return "error"


def is_given(value: object) -> bool:
    """Say whether an argument is sent at all."""
    return value is not None and type(value).__name__ not in ("NotGiven", "Omit")


def text(value: object) -> str | None:
    """Return a text as a plain `str`; None for what is none."""
    return str.__str__(value) if isinstance(value, str) else None


def count(value: object) -> int:
    """Return a provider's count; 0 for what is none."""
    return value if type(value) is int and value > 0 else 0
