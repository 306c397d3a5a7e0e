"""What a call used: disjoint token buckets and quantities, and how we know them."""

from __future__ import annotations

from typing import Literal

import msgspec

UsageStatus = Literal["reported", "estimated", "unknown"]

INPUT_BUCKETS = (
    "input_uncached",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "image_in",
)
OUTPUT_BUCKETS = ("output", "reasoning", "audio_out", "image_out")
TOKEN_BUCKETS = INPUT_BUCKETS + OUTPUT_BUCKETS


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one call in disjoint buckets: every token is in exactly one of them.

    `status` says where the numbers come from: the provider (`reported`), our estimator from what
    arrived (`estimated`), or nowhere (`unknown`: the numbers are 0 and mean nothing).
    The buckets' sums equal the provider's totals; `flags` names what had to be mended for that.
    """

    status: UsageStatus = "reported"
    input_uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    image_in: int = 0
    output: int = 0
    reasoning: int = 0
    audio_out: int = 0
    image_out: int = 0
    flags: tuple[str, ...] = ()

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached ones included (the semantic conventions' inclusive sum)."""
        return (
            self.input_uncached
            + self.cache_read
            + self.cache_write
            + self.cache_write_5m
            + self.cache_write_1h
            + self.audio_in
            + self.image_in
        )

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning included (the semantic conventions' inclusive sum)."""
        return self.output + self.reasoning + self.audio_out + self.image_out
