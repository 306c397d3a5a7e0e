"""Turns OpenAI's inclusive token counts into disjoint buckets.

`prompt_tokens` includes cached, cache-write, audio and image tokens; `completion_tokens` includes
reasoning and audio. Source: OpenAI API reference, chat completion object, read in November 2026.
"""

from __future__ import annotations

from typing import cast

from tollspan.usage import Usage


def read_usage(usage: object) -> Usage:
    """Read a `CompletionUsage`, or the JSON of one.

    Parts that add up to more than their total are cut to it, and flagged: the total is billed.
    """
    if isinstance(usage, dict):
        return _read(_Fields(cast("dict[str, object]", usage)))
    return _read(usage)


class _Fields:
    """Attribute access to JSON."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> object:
        value = self._fields.get(name)
        return _Fields(cast("dict[str, object]", value)) if isinstance(value, dict) else value


def _read(usage: object) -> Usage:  # noqa: C901 - a branch for each part that may be missing
    prompt = getattr(usage, "prompt_tokens", None)
    completion = getattr(usage, "completion_tokens", None)
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return Usage(status="unknown", flags=("malformed_usage",))
    cached = written = audio_in = reasoning = audio_out = 0
    details = getattr(usage, "prompt_tokens_details", None)
    if details is not None:
        if value := getattr(details, "cached_tokens", None):
            cached = _count(value)
        if value := getattr(details, "cache_write_tokens", None):
            written = _count(value)
        if value := getattr(details, "audio_tokens", None):
            audio_in = _count(value)
    details = getattr(usage, "completion_tokens_details", None)
    if details is not None:
        if value := getattr(details, "reasoning_tokens", None):
            reasoning = _count(value)
        if value := getattr(details, "audio_tokens", None):
            audio_out = _count(value)
    flags: tuple[str, ...] = ()
    uncached = prompt - cached - written - audio_in
    if uncached < 0:
        flags = ("input_parts_exceed_total",)
        cached = min(cached, prompt)
        written = min(written, prompt - cached)
        audio_in = prompt - cached - written
        uncached = 0
    output = completion - reasoning - audio_out
    if output < 0:
        flags += ("output_parts_exceed_total",)
        reasoning = min(reasoning, completion)
        audio_out = completion - reasoning
        output = 0
    return Usage(
        input_uncached=uncached,
        cache_read=cached,
        cache_write=written,
        audio_in=audio_in,
        output=output,
        reasoning=reasoning,
        audio_out=audio_out,
        flags=flags,
    )


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
