"""What the fakes' machinery asks of one provider's protocol, and what it is told in return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tests.fakes.books import Charge
from tests.fakes.generation import Generation, Piece
from tests.fakes.replies import Reply
from tests.fakes.tokens import Count
from tests.fakes.wire import HttpRequest


@dataclass(frozen=True, slots=True)
class RefusedError(ValueError):
    """A request that gets an error; what is None comes from the provider's table by status."""

    message: str | None = None
    param: str | None = None
    status: int = 400
    code: str | None = None
    kind: str | None = None


class SseEvent(NamedTuple):
    """One server-sent event: its data, and its name if it has one."""

    data: str
    name: str | None = None


class Events(Protocol):
    """The events of one stream; each method is called once, except `piece`, in this order."""

    def opening(self) -> Iterable[SseEvent]:
        """Yield what comes before any output."""
        ...

    def piece(self, piece: Piece) -> Iterable[SseEvent]:
        """Yield what carries one piece of output."""
        ...

    def closing(self) -> Iterable[SseEvent]:
        """Yield the end of a whole stream."""
        ...

    def failure(self, reply: Reply) -> Iterable[SseEvent]:
        """Yield, instead of the rest, the provider's error in mid-stream."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request gets if nothing breaks, and what it costs then.

    Attributes:
        charges: What is billed; the first is the call's own, whose output a broken stream cuts.
        generation: Given with `events`.
        events: Of a streamed answer, which has no `body`.
        later: Id and body of what can be fetched when a promise is kept.
    """

    charges: tuple[Charge, ...]
    body: bytes = b""
    generation: Generation | None = None
    events: Events | None = None
    later: tuple[str, bytes] | None = None


Endpoint = Callable[[Mapping[str, object], Reply, Count], Answer]
"""From a request's JSON to its answer. Raises `RefusedError`."""


class Dialect(Protocol):
    """One provider's protocol."""

    def route(self, http: HttpRequest) -> Endpoint | None:
        """Return what serves a billable request; None for any other."""
        ...

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Raise `RefusedError` for a request without a key."""
        ...

    def new_request_id(self) -> str:
        """Return the id of one answer."""
        ...

    def headers(self, request_id: str, elapsed_ms: int) -> dict[str, str]:
        """Return the headers of every answer."""
        ...

    def limit_headers(self) -> dict[str, str]:
        """Return the headers of a success about rate limits."""
        ...

    def error_body(self, refused: RefusedError, request_id: str) -> dict[str, object]:
        """Return the body of an error."""
        ...

    def unbilled(self, http: HttpRequest) -> tuple[int, bytes]:
        """Return the status and body for a request that `route` knows nothing of."""
        ...
