"""What a span of somebody else says was used, in buckets that share nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from tollspan.semconv import (
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    foreign,
)

from .dialect_table import Dialect
from .usage import Usage

_INPUT = (
    GEN_AI_USAGE_INPUT_TOKENS,
    foreign.GEN_AI_USAGE_PROMPT_TOKENS,
    foreign.LLM_PROMPT_TOKENS,
    foreign.AI_USAGE_INPUT,
    foreign.AI_USAGE_PROMPT,
    foreign.AI_USAGE_EMBEDDED,
)
_OUTPUT = (
    GEN_AI_USAGE_OUTPUT_TOKENS,
    foreign.GEN_AI_USAGE_COMPLETION_TOKENS,
    foreign.LLM_COMPLETION_TOKENS,
    foreign.AI_USAGE_OUTPUT,
    foreign.AI_USAGE_COMPLETION,
)
_READ = (
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    foreign.GEN_AI_USAGE_CACHE_READ_OLD,
    foreign.LLM_CACHE_READ,
    foreign.AI_USAGE_CACHE_READ,
    foreign.AI_USAGE_CACHED,
    foreign.DETAILS_CACHE_READ,
)
_WRITTEN = (
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    foreign.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
    foreign.GEN_AI_USAGE_CACHE_CREATION_OLD,
    foreign.LLM_CACHE_WRITE,
    foreign.AI_USAGE_CACHE_WRITE,
    foreign.DETAILS_CACHE_WRITE,
)
_REASONING = (
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    foreign.GEN_AI_USAGE_REASONING_TOKENS,
    foreign.LLM_REASONING,
    foreign.AI_USAGE_DETAILS_REASONING,
    foreign.AI_USAGE_REASONING,
    foreign.DETAILS_REASONING,
)
USAGE_ATTRIBUTES = (
    *(_INPUT + _OUTPUT + _READ + _WRITTEN + _REASONING),
    foreign.ANTHROPIC_CACHE_WRITE_5M,
    foreign.ANTHROPIC_CACHE_WRITE_1H,
    foreign.LLM_AUDIO_IN,
    foreign.LLM_AUDIO_OUT,
    foreign.AI_USAGE_NOT_CACHED,
    foreign.LANGFUSE_USAGE,
)
"""All that is read here."""
_COUNTED = frozenset(USAGE_ATTRIBUTES)
# Providers whose own counts of input leave out what was cached.
_EXCLUSIVE = ("anthropic", "aws.bedrock")
_LONGEST_TEXT = 20
_LONGEST_DETAILS = 4_096
# Langfuse's words → the conventions'; its `input` and `output` leave out what has words of its own.
_LANGFUSE = {
    "prompt_tokens": GEN_AI_USAGE_INPUT_TOKENS,
    "input_tokens": GEN_AI_USAGE_INPUT_TOKENS,
    "input": GEN_AI_USAGE_INPUT_TOKENS,
    "completion_tokens": GEN_AI_USAGE_OUTPUT_TOKENS,
    "output_tokens": GEN_AI_USAGE_OUTPUT_TOKENS,
    "output": GEN_AI_USAGE_OUTPUT_TOKENS,
    "input_cached_tokens": GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "input_cache_read": GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "cache_read_input_tokens": GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "input_cache_creation": GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    "cache_creation_input_tokens": GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    "output_reasoning_tokens": GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    "output_reasoning": GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
}
_details: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


def usage_of(
    dialect: Dialect, attributes: Mapping[str, object], *, provider: str, is_stream: bool
) -> Usage | None:
    """Split a span's inclusive sums into buckets that share nothing; None where it has none.

    Args:
        dialect: Who says it.
        attributes: What it says.
        provider: Whose counts they are, by the conventions' name.
        is_stream: The answer was streamed.
    """
    said: Mapping[str, object] = attributes
    if dialect.writes_text:
        said = _numbers_of(attributes)
    elif foreign.LANGFUSE_USAGE in attributes:
        said = {**_langfuse(attributes[foreign.LANGFUSE_USAGE]), **attributes}

    counts = {
        name: count
        for name in said
        if name in _COUNTED and (count := count_of(said[name])) is not None
    }

    def first(names: tuple[str, ...]) -> int | None:
        for name in names:
            if name in counts:
                return counts[name]
        return None

    total, made = first(_INPUT), first(_OUTPUT)
    if total is None and made is None:
        return None
    into, out = total or 0, made or 0
    if is_stream and out > 0:
        out -= dialect.adds_to_streams
    read, written = first(_READ) or 0, first(_WRITTEN) or 0
    five = counts.get(foreign.ANTHROPIC_CACHE_WRITE_5M, 0)
    hour = counts.get(foreign.ANTHROPIC_CACHE_WRITE_1H, 0)
    heard = counts.get(foreign.LLM_AUDIO_IN, 0)
    spoken = counts.get(foreign.LLM_AUDIO_OUT, 0)
    reasoning = first(_REASONING) or 0
    plain = max(0, written - five - hour)
    cached = read + plain + five + hour
    flags: tuple[str, ...] = ()
    if _excludes_cache(dialect, said, provider):
        into += cached
    if into < cached + heard or out < reasoning + spoken:
        flags = ("parts_above_total",)
        into, out = max(into, cached + heard), max(out, reasoning + spoken)
    return Usage(
        status="estimated" if dialect.is_lossy else "reported",
        input_uncached=into - cached - heard,
        cache_read=read,
        cache_write=plain,
        cache_write_5m=five,
        cache_write_1h=hour,
        audio_in=heard,
        output=out - reasoning - spoken,
        reasoning=reasoning,
        audio_out=spoken,
        flags=flags,
    )


def count_of(value: object) -> int | None:
    """Return a count; None for what is none, whatever a program put there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 1 << 53 else None


def _excludes_cache(dialect: Dialect, said: Mapping[str, object], provider: str) -> bool:
    """Say whether the input leaves out what was cached.

    Vercel's AI SDK passes on what the provider counts, but for versions that tell its parts.
    """
    if not dialect.names_methods:
        return dialect.excludes_cache
    return provider in _EXCLUSIVE and foreign.AI_USAGE_NOT_CACHED not in said


def _numbers_of(attributes: Mapping[str, object]) -> dict[str, object]:
    """Read the counts of a library that writes all of them as text."""
    return {
        name: int(value)
        for name in USAGE_ATTRIBUTES
        if isinstance(value := attributes.get(name), str)
        and len(value) < _LONGEST_TEXT
        and value.isascii()
        and value.isdecimal()
    }


def _langfuse(details: object) -> dict[str, object]:
    """Read the counts that Langfuse's SDKs write as JSON, as inclusive sums."""
    if not isinstance(details, str) or len(details) > _LONGEST_DETAILS:
        return {}
    try:
        said = _details.decode(details)
    except (msgspec.DecodeError, RecursionError):
        return {}
    found: dict[str, object] = {}
    for word, name in _LANGFUSE.items():
        if (count := count_of(said.get(word))) is not None:
            found.setdefault(name, count)
    for part in ("prompt_tokens_details", "completion_tokens_details"):
        found |= _openai_details(said.get(part))
    if "input" in said:
        _include(found, GEN_AI_USAGE_INPUT_TOKENS, _LANGFUSE_INPUT_PARTS)
    if "output" in said:
        _include(found, GEN_AI_USAGE_OUTPUT_TOKENS, (GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,))
    return found


_LANGFUSE_INPUT_PARTS = (
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
)


def _include(found: dict[str, object], total: str, parts: tuple[str, ...]) -> None:
    """Add to a sum the parts that it leaves out."""
    found[total] = sum(count_of(found.get(name)) or 0 for name in (total, *parts))


def _openai_details(said: object) -> dict[str, object]:
    """Read the parts of OpenAI's own counts, which are within its sums."""
    if not isinstance(said, dict):
        return {}
    parts = cast("dict[str, object]", said)
    names = {
        "cached_tokens": GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        "reasoning_tokens": GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    }
    return {
        name: count
        for word, name in names.items()
        if (count := count_of(parts.get(word))) is not None
    }
