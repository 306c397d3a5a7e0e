"""What programs of any language say of a call: before it is made, and once it has ended."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec

from tollspan.server.problems import ProblemError
from tollspan.usage import (
    TOKEN_BUCKETS,
    Attribution,
    AttributionError,
    Call,
    Outcome,
    Request,
    Response,
    Usage,
    read_attribution,
)

MOST_COUNT: Final = 10**13
_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNT)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Traceparent = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
]
_Counts = Annotated[dict[_Text, _Count], msgspec.Meta(max_length=32)]
_NO_COUNTS: Final[dict[str, int]] = {}
_UNSAID: Final = ("unsaid",)
_NS_PER_MS: Final = 1_000_000
DOOR: Final = "http"


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said; a key that is not known is refused, so that no limit is misspelt."""

    def digest(self) -> bytes:
        """Return what tells two questions apart, whatever the order of their keys."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=16).digest()


class AuthorizeQuestion(_Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a call before it is made.

    `call_id` is the caller's own: asked again with the same, the answer is the same. Without one
    the server makes one up. `max_input_tokens` or `input_bytes` bound the input: a token has a byte
    or more; without either, the model's context window does. `quantities` is the most of every
    unit besides tokens, `{"web_searches": 3}` say.
    """

    call_id: _Id | None = None
    provider: _Text
    model: _Text
    operation: _Text = "chat"
    max_input_tokens: _Count | None = None
    input_bytes: _Count | None = None
    max_output_tokens: _Count | None = None
    choices: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    quantities: _Counts = {}
    service_tier: _Text | None = None
    region: _Text | None = None
    host: Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[^\x00-\x20\x7f]*$")] = ""
    attribution: Annotated[dict[str, object], msgspec.Meta(max_length=32)] = {}
    traceparent: _Traceparent | None = None

    def call(self, call_id: str, tenant: str, at_unix_ns: int) -> Call:
        """Return the call that is meant.

        Raises:
            ProblemError: Who pays is said wrongly.
        """
        most = self.max_input_tokens
        if most is not None and self.input_bytes is not None:
            most = min(most, self.input_bytes)
        elif most is None:
            most = self.input_bytes
        return Call(
            id=call_id,
            started_at_unix_ns=at_unix_ns,
            request=Request(
                provider=self.provider,
                operation=self.operation,
                model=self.model,
                host=self.host,
                input_bytes=most or 0,
                unbounded=_UNSAID if most is None else (),
                max_output_tokens=self.max_output_tokens,
                choices=self.choices,
                service_tier=self.service_tier,
                region=self.region,
                quantities=tuple(sorted(self.quantities.items())),
            ),
            attribution=self._attribution(tenant),
            door=DOOR,
        )

    def _attribution(self, tenant: str) -> Attribution:
        try:
            said = read_attribution(self.attribution, place="attribution.")
        except AttributionError as error:
            raise ProblemError(400, f"body: {error}") from None
        trace = None if self.traceparent is None else self.traceparent.split("-")[1]
        return msgspec.structs.replace(said, tenant=tenant, trace=trace)


class UsageWords(_Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a call used, in disjoint buckets: every token is in exactly one of them."""

    status: Literal["reported", "estimated"] = "reported"
    input_uncached: _Count = 0
    cache_read: _Count = 0
    cache_write: _Count = 0
    cache_write_5m: _Count = 0
    cache_write_1h: _Count = 0
    audio_in: _Count = 0
    audio_cache_read: _Count = 0
    image_in: _Count = 0
    image_cache_read: _Count = 0
    video_in: _Count = 0
    output: _Count = 0
    reasoning: _Count = 0
    audio_out: _Count = 0
    image_out: _Count = 0
    video_out: _Count = 0
    quantities: _Counts = {}

    def value(self) -> Usage:
        """Return what is meant."""
        tokens = {name: getattr(self, name) for name in TOKEN_BUCKETS}
        quantities = tuple(sorted(self.quantities.items()))
        return Usage(status=self.status, quantities=quantities, **tokens)


class ResponseWords(_Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider's answer says of itself."""

    id: _Text | None = None
    model: _Text | None = None
    service_tier: _Text | None = None
    region: _Text | None = None


class CallEndQuestion(_Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say how a call went that was let through.

    `cancel`: nothing was sent, all that it held is free again. `not_billed`: the provider did no
    billable work. Else `usage` says what it used; without it nobody knows, and the most that the
    call could cost stays counted. `is_incomplete`: it may have used more.
    """

    call_id: _Id
    cancel: bool = False
    not_billed: bool = False
    usage: UsageWords | None = None
    is_incomplete: bool = False
    outcome: Literal["ok", "error", "partial", "cancelled", "timeout"] = "ok"
    error_type: _Text | None = None
    duration_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000 * 35)] = 0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    response: ResponseWords = ResponseWords()

    def check(self) -> None:
        """See that it is said one way how the call went.

        Raises:
            ProblemError: It is said two ways.
        """
        if self.cancel + self.not_billed + (self.usage is not None) > 1:
            raise ProblemError(400, "body: expected one of cancel, not_billed and usage at most")

    def used(self) -> Usage | None:
        """Return what was used; None where the provider did no billable work."""
        if self.not_billed:
            return None
        return Usage(status="unknown") if self.usage is None else self.usage.value()

    def ended(self) -> Outcome:
        """Return how the call ended."""
        said = self.response
        return Outcome(
            status=self.outcome,
            duration_ns=self.duration_ms * _NS_PER_MS,
            error_type=self.error_type,
            attempts=self.attempts,
            response=Response(
                id=said.id, model=said.model, service_tier=said.service_tier, region=said.region
            ),
        )
