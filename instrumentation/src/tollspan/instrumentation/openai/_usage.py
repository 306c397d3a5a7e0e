"""Turns OpenAI's inclusive token counts into disjoint buckets.

Input counts include cached, cache-write, audio and image tokens; output counts include reasoning,
audio and image tokens. Sources: OpenAI API reference, chat completion and response objects, and
openai-python 3.54 (`types/completion_usage.py`, `types/responses/response_usage.py`), both read in
November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tollspan.instrumentation._shapes import View, count, fields
from tollspan.usage import Usage

_INPUT_PARTS = ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens")
# What only some providers say: their own cost.
_BESIDE = frozenset({"cost", "cost_in_usd_ticks"})
_PICOUSD_PER_USD, _PICOUSD_PER_TICK = 10**12, 100
_each: Any = map  # of values that may be anything
_MOST_PICOUSD = 10**18  # a million USD: more is no cost of one call
_OUTPUT_PARTS = ("reasoning_tokens", "audio_tokens", "image_tokens")


def read_usage(usage: object) -> Usage:
    """Read a `CompletionUsage`, or the JSON of one.

    Parts that add up to more than their total are cut to it, and flagged: the total is billed.
    """
    found = fields(usage)
    get = found.get
    read = _read(
        get("prompt_tokens"),
        get("completion_tokens"),
        get("prompt_tokens_details"),
        get("completion_tokens_details"),
    )
    if _BESIDE.isdisjoint(found) and not read.flags:
        return read
    return _read_more(read, found)


def read_response_usage(usage: object) -> Usage:
    """Read a `ResponseUsage`, or the JSON of one, as `read_usage` does."""
    get = fields(usage).get
    return _read(
        get("input_tokens"),
        get("output_tokens"),
        get("input_tokens_details"),
        get("output_tokens_details"),
    )


def read_input_usage(usage: object) -> Usage:
    """Read the usage of a call that has no output tokens, embeddings say, or the JSON of one."""
    get = fields(usage).get
    into = get("prompt_tokens")
    if into is None:
        into = get("total_tokens")
    return _read(into, 0, get("prompt_tokens_details"), None)


def _read_more(read: Usage, found: Mapping[str, object]) -> Usage:
    """Read what only some providers say, and what only some calls have."""
    into = found.get("prompt_tokens")
    has_output = found.get("completion_tokens") is not None
    if not has_output and type(into) is int and found.get("total_tokens") == into:
        read = _read(into, 0, found.get("prompt_tokens_details"), None)  # it was only scored
    cost = reported_cost_picousd(found)
    return read if cost is None else msgspec.structs.replace(read, reported_cost_picousd=cost)


def reported_cost_picousd(found: Mapping[str, object]) -> int | None:
    """Return what a provider itself says that the call cost, in pico-USD; None where it does not.

    OpenRouter: `cost` in USD, and where the caller's own key paid the host (`is_byok`) what that
    was, which `cost` leaves out. Perplexity: `cost.total_cost`. xAI: `cost_in_usd_ticks` of 1e-10
    USD. Sources: the providers' API references, read in November 2026.
    """
    ticks = found.get("cost_in_usd_ticks")
    if type(ticks) is int and ticks >= 0:
        return ticks * _PICOUSD_PER_TICK
    cost = found.get("cost")
    if isinstance(cost, dict | View):
        return _picousd(fields(found["cost"]).get("total_cost"))
    amount = _picousd(cost)
    if amount is not None and found.get("is_byok") is True:
        upstream = fields(found.get("cost_details")).get("upstream_inference_cost")
        amount += _picousd(upstream) or 0
    return amount


def _picousd(amount_usd: object) -> int | None:
    """Return an amount that came as a number of JSON: a float's shortest form is what was sent."""
    if isinstance(amount_usd, bool) or not isinstance(amount_usd, int | float | str):
        return None
    try:
        amount = Decimal(str(amount_usd)) * _PICOUSD_PER_USD
    except ArithmeticError:
        return None
    return round(amount) if amount.is_finite() and 0 <= amount <= _MOST_PICOUSD else None


def _read(into: Any, out: Any, into_details: object, out_details: object) -> Usage:
    """Read what nearly all calls have: numbers that fit, of text alone."""
    if into_details is None or out_details is None:
        return _read_all(into, out, into_details, out_details)
    cached, written, audio, image = _each(fields(into_details).get, _INPUT_PARTS)
    reasoning, spoken, drawn = _each(fields(out_details).get, _OUTPUT_PARTS)
    if audio or image or spoken or drawn:
        return _read_all(into, out, into_details, out_details)
    cached, written, reasoning = cached or 0, written or 0, reasoning or 0
    try:
        uncached = into - cached - written
        visible = out - reasoning
        fits = min(uncached, visible, cached, written, reasoning) >= 0
    except TypeError:
        return _read_all(into, out, into_details, out_details)
    if not fits or type(uncached + visible) is not int or into is True:
        return _read_all(into, out, into_details, out_details)
    return Usage(
        input_uncached=uncached,
        cache_read=cached,
        cache_write=written,
        output=visible,
        reasoning=reasoning,
    )


def _read_all(into: object, out: object, into_details: object, out_details: object) -> Usage:
    """Read what has parts of other kinds than text, or numbers that do not fit or are none."""
    if type(into) is not int or type(out) is not int or into < 0 or out < 0:
        return Usage(status="unknown", flags=("malformed_usage",))
    flags: tuple[str, ...] = ()
    parts = _input_parts(into_details)
    if sum(parts) > into:
        # An image that was cached counts as both where the provider does not tell them apart.
        if sum(parts[:-1]) > into or parts[-1] > into:
            flags = ("input_parts_exceed_total",)
        parts = _cut(into, parts)
    cached, cached_audio, cached_image, written, audio_in, image_in = parts
    made = tuple(map(count, map(fields(out_details).get, _OUTPUT_PARTS)))
    if sum(made) > out:
        flags += ("output_parts_exceed_total",)
        made = _cut(out, made)
    reasoning, audio_out, image_out = made
    return Usage(
        input_uncached=into - sum(parts),
        cache_read=cached,
        audio_cache_read=cached_audio,
        image_cache_read=cached_image,
        cache_write=written,
        audio_in=audio_in,
        image_in=image_in,
        output=out - sum(made),
        reasoning=reasoning,
        audio_out=audio_out,
        image_out=image_out,
        flags=flags,
    )


def _input_parts(details: object) -> tuple[int, ...]:
    """Return cached text, cached audio, cached images, cache writes, audio and images."""
    get = fields(details).get
    cached, written, audio_in, image_in = map(count, map(get, _INPUT_PARTS))
    split = fields(get("cached_tokens_details")).get
    cached_audio = min(count(split("audio_tokens")), cached, audio_in)
    cached_image = min(count(split("image_tokens")), cached - cached_audio, image_in)
    return (
        cached - cached_audio - cached_image, cached_audio, cached_image, written,
        audio_in - cached_audio, image_in - cached_image,
    )  # fmt: skip


def _cut(total: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the parts, the first ones first, as far as the total goes."""
    found: list[int] = []
    for part in parts:
        found.append(min(part, total))
        total -= found[-1]
    return tuple(found)
