"""The call that a span of somebody else tells of, and how it ended."""

from __future__ import annotations

import hashlib

import msgspec

from .call import Attribution, Call, Request
from .dialects import ForeignSpan, assumed_provider
from .outcome import Outcome, OutcomeStatus
from .usage import Usage

# What a span tells nothing of, and a hold needs: a foreign span is let through by these.
_ASSUMED_INPUT_BYTES = 8_192
_ASSUMED_OUTPUT_TOKENS = 2_048
# Errors of which the provider did no work, or said so.
_NOT_BILLED = ("ratelimit", "authentic", "badrequest", "permission", "notfound", "unprocessable")
_MAYBE_BILLED = ("timeout", "cancel", "interrupt", "reset", "incomplete", "abandoned")


def foreign_id(trace_id: str, span_id: str) -> str:
    """Return the id that a program gives the call of a span that it sees, both in hex."""
    return hashlib.sha256(f"span:{trace_id}:{span_id}".encode()).hexdigest()[:32]


def foreign_call(
    found: ForeignSpan,
    trace_id: int,
    span_id: int,
    *,
    started_at_unix_ns: int,
    attribution: Attribution,
    door: str,
    call_id: str | None = None,
) -> Call:
    """Make the call of a span; without `call_id` its id follows from the span's, and is one.

    What a span does not tell is assumed where a hold needs it: 8,192 bytes of input, and 2,048
    tokens of output where no limit is told. Where it names a model and no provider, it is assumed
    (and marked) whose models have such names.
    """
    return Call(
        id=call_id or foreign_id(f"{trace_id:032x}", f"{span_id:016x}"),
        started_at_unix_ns=started_at_unix_ns,
        request=Request(
            provider=found.provider or assumed_provider(found.model) or "unknown",
            operation=found.operation,
            model=found.model or "unknown",
            host=found.host,
            port=found.port,
            is_assumed=not (found.provider and found.model),
            input_bytes=_ASSUMED_INPUT_BYTES,
            max_output_tokens=found.max_output_tokens or _ASSUMED_OUTPUT_TOKENS,
            is_stream=found.is_stream,
        ),
        attribution=attribution,
        door=door,
    )


def named(call: Call, found: ForeignSpan) -> Call:
    """Return the call with the provider and model that the span tells only at its end."""
    request = call.request
    if not request.is_assumed:
        return call
    model = found.model or request.model
    return msgspec.structs.replace(
        call,
        request=msgspec.structs.replace(
            request,
            provider=found.provider or assumed_provider(model) or request.provider,
            model=model,
            operation=found.operation,
            is_assumed=not (found.provider and found.model),
        ),
    )


def foreign_outcome(
    found: ForeignSpan, *, duration_ns: int, is_error: bool
) -> tuple[Outcome, Usage | None]:
    """Say how a span's call ended, and what it used: None where the provider did no work.

    A span that tells no usage and no error leaves it unknown.
    """
    status: OutcomeStatus = "error" if is_error or found.error_type is not None else "ok"
    kind = (found.error_type or "").lower()
    if "timeout" in kind:
        status = "timeout"
    elif "cancel" in kind:
        status = "cancelled"
    usage = found.usage
    if usage is None and (status == "ok" or _is_maybe_billed(kind)):
        usage = Usage(status="unknown")
    outcome = Outcome(
        status=status,
        duration_ns=max(0, duration_ns),
        error_type=found.error_type or ("_OTHER" if is_error else None),
        response=found.response,
    )
    return outcome, usage


def _is_maybe_billed(kind: str) -> bool:
    if any(word in kind for word in _NOT_BILLED):
        return False
    return kind.startswith("5") or any(word in kind for word in _MAYBE_BILLED)
