"""Turns Anthropic's token counts into disjoint buckets.

`input_tokens` leaves out what was read from or written to the prompt cache; `output_tokens`
includes thinking. `iterations`, where present, lists all that is billed: the totals leave out
compactions and advisors. Source: anthropic-python 2.12, `types/usage.py`, and `beta_usage.py` and
`*_iteration_usage.py` in `types/beta`, read in November 2026.
"""

from __future__ import annotations

from typing import cast

import msgspec

from tollspan.instrumentation._shapes import count, view
from tollspan.usage import Iteration, Response, Tokens, Usage, sum_of

MALFORMED = "malformed_usage"
MALFORMED_ITERATIONS = "malformed_iterations"
# What `server_tool_use` counts, sorted by our unit. Its other members are free of charge.
_COUNTED = (
    ("code_executions", "code_execution_requests"),
    ("web_fetches", "web_fetch_requests"),
    ("web_searches", "web_search_requests"),
)
# Runs whose thinking `output_tokens_details` does not count: they are beside the answer.
_BESIDE = frozenset({"compaction", "advisor_message"})


def read_usage(usage: object) -> Usage:
    """Read a `Usage`, a `BetaUsage` or a view of their JSON.

    With `iterations` their sum is billed, each at its own model. Should they be less than the
    totals, the rest is an iteration more, so that nothing that was reported is left out.
    """
    flags: list[str] = []
    total = _buckets(usage, flags)
    entries = _part(usage, "iterations")
    iterations = _iterations(entries, total.get("reasoning", 0) if total else 0, flags)
    if iterations:
        if total is not None:
            iterations += _rest(iterations, total, flags)
        total = sum_of(iterations)
    elif total is None:
        return Usage(status="unknown", flags=(MALFORMED,))
    credit = getattr(_part(usage, "fallback_credit"), "status", None)
    if getattr(credit, "type", None) == "redeemed":
        flags.append("fallback_credit")  # billed for less than is counted here
    rest_of_it = Usage(
        quantities=_quantities(_part(usage, "server_tool_use")),
        iterations=iterations,
        flags=tuple(dict.fromkeys(flags)),
    )
    return msgspec.structs.replace(rest_of_it, **total)


def read_response(message: object, usage: object, stop_reason: object) -> Response:
    """Read what an answer says of itself; the speed `fast` is priced as a tier is."""
    speed = getattr(usage, "speed", None)
    tier = getattr(usage, "service_tier", None)
    reason = filled_text(stop_reason)
    return Response(
        id=filled_text(getattr(message, "id", None)),
        model=filled_text(getattr(message, "model", None)),
        finish_reasons=() if reason is None else (reason,),
        service_tier="fast" if speed == "fast" else filled_text(tier),
        region=filled_text(getattr(usage, "inference_geo", None)),
    )


def filled_text(value: object) -> str | None:
    """Return a text that is not empty, None for anything else."""
    return value if isinstance(value, str) and value else None


def _part(usage: object, name: str) -> object:
    """Return a member that is an object or a list; one that an SDK does not know yet is JSON."""
    return view(getattr(usage, name, None))


def _buckets(counts: object, flags: list[str]) -> dict[str, int] | None:
    """Read the buckets that hold something; None when the two counts that must be there are not."""
    uncached = getattr(counts, "input_tokens", None)
    total_output = getattr(counts, "output_tokens", None)
    if type(uncached) is not int or type(total_output) is not int:
        return None
    if uncached < 0 or total_output < 0:
        return None
    write_5m, write_1h = _cache_writes(counts, flags)
    details = _part(counts, "output_tokens_details")
    reasoning = count(getattr(details, "thinking_tokens", None))
    if reasoning > total_output:
        flags.append("output_parts_exceed_total")
        reasoning = total_output
    buckets = {
        "input_uncached": uncached,
        "cache_read": count(getattr(counts, "cache_read_input_tokens", None)),
        "cache_write_5m": write_5m,
        "cache_write_1h": write_1h,
        "output": total_output - reasoning,
        "reasoning": reasoning,
    }
    return {bucket: tokens for bucket, tokens in buckets.items() if tokens}


def _cache_writes(counts: object, flags: list[str]) -> tuple[int, int]:
    """Return the tokens written for 5 minutes and for an hour; together they are the total.

    Without a split they count as 5 minutes, the API's default. What a split lacks is of the kind
    that it has: a stream gives it once, at the start, and the total again at the end.
    """
    total = getattr(counts, "cache_creation_input_tokens", None)
    split = _part(counts, "cache_creation")
    write_5m = count(getattr(split, "ephemeral_5m_input_tokens", None))
    write_1h = count(getattr(split, "ephemeral_1h_input_tokens", None))
    if type(total) is not int or total < 0:
        return write_5m, write_1h
    rest = total - write_5m - write_1h
    if rest and (write_5m or write_1h):
        flags.append("cache_writes_differ_from_total")
    if rest < 0:
        write_1h = min(write_1h, total)
        return total - write_1h, write_1h
    if write_1h and not write_5m:
        return 0, write_1h + rest
    return write_5m + rest, write_1h


def _iterations(entries: object, thinking: int, flags: list[str]) -> tuple[Iteration, ...]:
    """Read all entries, or none and a flag; the answer's thinking is put into its own runs."""
    if entries is None:
        return ()
    read: list[Iteration] = []
    for entry in cast("list[object]", entries) if isinstance(entries, list) else [None]:
        buckets = _buckets(entry, flags)
        if buckets is None:
            flags.append(MALFORMED_ITERATIONS)
            return ()
        if thinking and getattr(entry, "type", None) not in _BESIDE and "reasoning" not in buckets:
            part = min(thinking, buckets.get("output", 0))
            thinking -= part
            buckets["output"] = buckets.get("output", 0) - part
            buckets["reasoning"] = part
        read.append(Iteration(**buckets, model=filled_text(getattr(entry, "model", None))))
    return tuple(read)


def _rest(
    iterations: tuple[Iteration, ...], total: dict[str, int], flags: list[str]
) -> tuple[Iteration, ...]:
    """Return what the totals say and the iterations do not, as none or one more of them."""
    listed, whole = Tokens(**sum_of(iterations)), Tokens(**total)
    if listed.input_tokens >= whole.input_tokens and listed.output_tokens >= whole.output_tokens:
        return ()
    flags.append("iterations_below_total")
    rest = {
        bucket: tokens - getattr(listed, bucket)
        for bucket, tokens in total.items()
        if tokens > getattr(listed, bucket)
    }
    return (Iteration(**rest, model=None),)


def _quantities(used: object) -> tuple[tuple[str, int], ...]:
    if used is None:
        return ()
    counts = [(unit, count(getattr(used, name, None))) for unit, name in _COUNTED]
    return tuple([(unit, number) for unit, number in counts if number])
