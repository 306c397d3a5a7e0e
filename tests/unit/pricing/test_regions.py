"""Where a call runs, and what that does to its price."""

from __future__ import annotations

import pytest

from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage

NOW = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
THOUSAND = Usage(input_uncached=1_000)


@pytest.mark.parametrize(
    ("provider", "model", "host", "asked", "said", "nanousd"),
    [
        ("openai", "gpt-5.5", "api.openai.com", None, None, 5_000_000),
        ("openai", "gpt-5.5", "eu.api.openai.com", None, None, 5_500_000),
        ("openai", "gpt-5.5", "us.api.openai.com", None, None, 5_500_000),
        ("openai", "gpt-4o", "eu.api.openai.com", None, None, 2_500_000),  # no uplift for it
        ("anthropic", "claude-opus-5", "", None, "us", 5_500_000),
        ("anthropic", "claude-opus-5", "", "us", None, 5_500_000),
        ("anthropic", "claude-opus-5", "", "us", "global", 5_000_000),
        ("anthropic", "claude-opus-5", "", None, "not_available", 5_000_000),
        ("azure.ai.openai", "gpt-4o-2024-08-06", "", "eu", None, 2_750_000),
        ("azure.ai.openai", "gpt-4o-2024-08-06", "", "japaneast", None, 2_500_000),
        ("gcp.vertex_ai", "claude-opus-5", "", "us-east5", None, 5_500_000),
        ("gcp.vertex_ai", "claude-opus-5", "", "global", None, 5_000_000),
        ("gcp.vertex_ai", "claude-opus-5", "aiplatform.googleapis.com", None, None, 5_000_000),
        (
            "gcp.vertex_ai",
            "claude-opus-5",
            "europe-west1-aiplatform.googleapis.com",
            None,
            None,
            5_500_000,
        ),
        ("aws.bedrock", "amazon.nova-pro-v1:0", "", "us-east-1", None, 800_000),
        (
            "aws.bedrock",
            "amazon.nova-pro-v1:0",
            "bedrock-runtime.us-gov-west-1.amazonaws.com",
            None,
            None,
            960_000,
        ),
        ("aws.bedrock", "eu.amazon.nova-pro-v1:0", "", "eu-west-1", None, 1_050_000),
        ("aws.bedrock", "global.anthropic.claude-opus-5", "", None, None, 5_000_000),
        ("aws.bedrock", "us.anthropic.claude-opus-5", "", None, None, 5_500_000),
    ],
)
def test_a_region_is_priced(
    book: PriceBook,
    provider: str,
    model: str,
    host: str,
    asked: str | None,
    said: str | None,
    nanousd: int,
) -> None:
    request = Request(provider=provider, operation="chat", model=model, host=host, region=asked)
    for _ in range(2):
        cost = book.rate(request, Response(region=said), THOUSAND, NOW)
        assert (cost.status, cost.amount_nanousd) == ("priced", nanousd)


def test_a_region_that_has_a_price_nobody_knows_is_unpriced(book: PriceBook) -> None:
    """OpenAI's uplift is known for two regions; a third would be a guess."""
    request = Request(provider="openai", operation="chat", model="gpt-5.5", region="mars")
    cost = book.rate(request, Response(), THOUSAND, NOW)
    assert (cost.status, cost.matched_key) == ("unpriced", "gpt-5.5")
    assert book.bound(request, NOW).reasons == ("unpriced",)


@pytest.mark.parametrize("host", ["eu.api.openai.com", "api.openai.com"])
def test_a_bound_counts_the_region(book: PriceBook, host: str) -> None:
    request = Request(
        provider="openai",
        operation="chat",
        model="gpt-5.5",
        host=host,
        input_bytes=976,
        max_output_tokens=100,
        service_tier="default",
    )
    plain = 2_000 * 5_000 + 100 * 30_000
    for _ in range(2):
        found = book.bound(request, NOW).amount_nanousd
        assert found == (plain * 11 // 10 if host.startswith("eu") else plain)
