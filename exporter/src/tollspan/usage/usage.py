"""What a call used: disjoint token buckets and quantities, and how we know them."""

from __future__ import annotations

from operator import attrgetter
from typing import Literal

import msgspec

UsageStatus = Literal["reported", "estimated", "unknown"]
Quantities = tuple[tuple[str, int], ...]

INPUT_BUCKETS = (
    "input_uncached",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "audio_cache_read",
    "image_in",
    "image_cache_read",
    "video_in",
)
OUTPUT_BUCKETS = ("output", "reasoning", "audio_out", "image_out", "video_out")
TOKEN_BUCKETS = INPUT_BUCKETS + OUTPUT_BUCKETS
# What is counted besides tokens, in whole numbers. A unit may name a variant behind a colon, which
# has a price of its own or none: `images:high/1024x1024`, `video_out_ms:1080p`.
UNITS = {
    "web_searches": "searches of the web that a tool at the provider made",
    "web_fetches": "pages that such a tool read",
    "social_searches": "searches of a social network, made likewise",
    "storage_searches": "searches of stored files (OpenAI: file search), made likewise",
    "maps_searches": "searches of maps, made likewise",
    "code_sessions": "containers in which a code interpreter at the provider ran",
    "code_executions": "runs of code at the provider, where each one counts",
    "tool_calls": "calls of a tool that has a flat price",
    "requests": "requests, where each has a fee",
    "images": "images made",
    "audio_in_ms": "milliseconds of audio heard",
    "audio_out_ms": "milliseconds of audio spoken",
    "audio_ms": "milliseconds of an audio session, whoever spoke",
    "video_out_ms": "milliseconds of video made",
    "characters": "characters read, to be spoken or translated",
    "pages": "pages read",
    "annotated_pages": "pages read and annotated",
    "messages": "text messages put into an audio session",
    "searches": "searches of a reranker",
}
# The unit of a tool's flat price. What else a tool is priced by may have any name.
TOOL_CALLS = "tool_calls"
_inputs = attrgetter(*INPUT_BUCKETS)
_outputs = attrgetter(*OUTPUT_BUCKETS)


class Tokens(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens in disjoint buckets: every token is in exactly one of them."""

    input_uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    audio_cache_read: int = 0
    image_in: int = 0
    image_cache_read: int = 0
    video_in: int = 0
    output: int = 0
    reasoning: int = 0
    audio_out: int = 0
    image_out: int = 0
    video_out: int = 0

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached ones included (the semantic conventions' inclusive sum)."""
        return sum(_inputs(self))

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning included (the semantic conventions' inclusive sum)."""
        return sum(_outputs(self))


class Iteration(Tokens, frozen=True, kw_only=True, omit_defaults=True):
    """One of several runs of models within a call; `model` is None for the call's own."""

    model: str | None = None


class Usage(Tokens, frozen=True, kw_only=True, omit_defaults=True):
    """What one call used.

    Attributes:
        status: Where the numbers come from: the provider (`reported`), our estimator from what
            arrived (`estimated`), or nowhere (`unknown`: the numbers are 0 and mean nothing).
        quantities: (unit, count) pairs of what is counted besides tokens, sorted, each unit once:
            see `UNITS`.
        iterations: Where the provider ran models several times within the call (compaction,
            advisors), all of these runs; the buckets are then their sum. Each is priced by itself.
        reported_cost_picousd: What the provider itself says that the call cost, None if it doesn't.
        flags: What had to be mended so that the buckets' sums equal the provider's totals.
    """

    status: UsageStatus = "reported"
    quantities: Quantities = ()
    iterations: tuple[Iteration, ...] = ()
    reported_cost_picousd: int | None = None
    flags: tuple[str, ...] = ()


def sum_of(iterations: tuple[Iteration, ...]) -> dict[str, int]:
    """Return the buckets of all iterations together, those that are not 0."""
    return {
        bucket: total
        for bucket in TOKEN_BUCKETS
        if (total := sum(getattr(iteration, bucket) for iteration in iterations))
    }
