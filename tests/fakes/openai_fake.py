"""The fake of OpenAI, and of Azure OpenAI."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fakes.books import PRICES, VIDEO_MODELS, PriceTable
from tests.fakes.openai_dialect import OpenAIDialect
from tests.fakes.provider import FakeProvider
from tests.fakes.replies import Reply
from tests.fakes.tokens import Tokenizer

DEPLOYMENTS: Mapping[str, str] = {"chat-prod": "gpt-4o-mini", "vectors": "text-embedding-3-small"}


class FakeOpenAI(FakeProvider):
    """A provider that speaks OpenAI's protocol, and Azure's; see `FakeProvider`.

    Args:
        default: The reply of every request that the script says nothing else about.
        prices: Pico-USD per token by model (see `Price`).
        tokenizer: `bytes4` is one token per 4 bytes; `o200k` is the real one, and slow.
        port: 0 takes a free one.
        keep_requests: How many of the last requests are recorded.
        deployments: Azure's deployments: name → model. Each priced model is also a deployment.

    Attributes:
        batches: Its files and batches.
    """

    def __init__(
        self,
        default: Reply | None = None,
        *,
        prices: PriceTable = PRICES,
        tokenizer: Tokenizer = "bytes4",
        port: int = 0,
        keep_requests: int = 1000,
        deployments: Mapping[str, str] = DEPLOYMENTS,
    ) -> None:
        dialect = OpenAIDialect(prices, deployments)
        self.batches = dialect.batches
        super().__init__(
            "fake-openai",
            dialect,
            default,
            prices={**prices, **VIDEO_MODELS},
            tokenizer=tokenizer,
            port=port,
            keep_requests=keep_requests,
        )

    @property
    def base_url(self) -> str:
        """What the SDK takes as its base URL; as an Azure endpoint it takes `root_url`."""
        return f"{self.root_url}/v1"
