"""How a call ended, and what its answer said of itself."""

from __future__ import annotations

from typing import Literal

import msgspec

OutcomeStatus = Literal["ok", "error", "partial", "cancelled", "timeout", "denied"]


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider's answer says of itself; None where it says nothing.

    `service_tier` is the tier or speed that ran; `region` is where it ran, as in `Request`.
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    service_tier: str | None = None
    region: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a call ended.

    Attributes:
        status: `ok` | `error` | `partial` | `cancelled` | `timeout` | `denied`.
        duration_ns: From the request to the last byte that the caller took, by the monotonic clock.
        error_type: Low-cardinality error id: the provider's status code or an exception's name.
        attempts: HTTP attempts that the SDK made, its own retries included.
        maybe_billed_attempts: Attempts before the last that were sent and never answered.
        first_chunk_ns: From the request to a stream's first chunk.
        response: What the answer says of itself.
    """

    status: OutcomeStatus
    duration_ns: int = 0
    error_type: str | None = None
    attempts: int = 1
    maybe_billed_attempts: int = 0
    first_chunk_ns: int | None = None
    response: Response = Response()
