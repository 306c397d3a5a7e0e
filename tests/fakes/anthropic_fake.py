"""The fake of Anthropic."""

from __future__ import annotations

from tests.fakes.anthropic_dialect import AnthropicDialect
from tests.fakes.books import ANTHROPIC_PRICES, PriceTable
from tests.fakes.provider import FakeProvider
from tests.fakes.replies import Reply
from tests.fakes.tokens import Tokenizer


class FakeAnthropic(FakeProvider):
    """A provider that speaks Anthropic's protocol; see `FakeProvider`.

    Args:
        default: The reply of every request that the script says nothing else about.
        prices: Pico-USD per token by model (see `Price`).
        tokenizer: `bytes4` is one token per 4 bytes; `o200k` a real one (not Anthropic's), slow.
        port: 0 takes a free one.
        keep_requests: How many of the last requests are recorded.
    """

    def __init__(
        self,
        default: Reply | None = None,
        *,
        prices: PriceTable = ANTHROPIC_PRICES,
        tokenizer: Tokenizer = "bytes4",
        port: int = 0,
        keep_requests: int = 1000,
    ) -> None:
        super().__init__(
            "fake-anthropic",
            AnthropicDialect(prices),
            default,
            prices=prices,
            tokenizer=tokenizer,
            port=port,
            keep_requests=keep_requests,
        )
