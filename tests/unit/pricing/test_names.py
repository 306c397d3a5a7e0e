"""Which row a model's name leads to, and by which rule."""

from __future__ import annotations

import pytest

from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage

NOW = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("provider", "name", "key", "rule"),
    [
        ("openai", "gpt-4o", "gpt-4o", "exact"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13", "exact"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o", "alias"),
        ("openai", "gpt-5-nano-2025-08-07", "gpt-5-nano", "alias"),
        ("openai", "openai/gpt-4o", "gpt-4o", "normalised"),
        ("openai", "GPT-4o-Mini", "gpt-4o-mini", "normalised"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2", "date"),
        ("openai", "openai/gpt-5.2-20251211", "gpt-5.2", "date"),
        ("openai", "gpt-5.6-sol-2027-01-15", "gpt-5.6-sol", "date"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::a1", "ft:gpt-4o-mini", "fine_tune"),
        ("openai", "ft:gpt-4o-2024-08-06:org:bot:a1:ckpt-step-9", "ft:gpt-4o", "fine_tune"),
        ("openai", "openai/ft:o4-mini-2025-04-16:o::1", "ft:o4-mini-2025-04-16", "fine_tune"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "date"),
        ("gcp.gemini", "models/gemini-2.5-flash", "gemini-2.5-flash", "normalised"),
        ("gcp.gen_ai", "gemini-2.5-flash", "gemini-2.5-flash", "exact"),
        (
            "gcp.vertex_ai",
            "projects/p-1/locations/europe-west1/publishers/google/models/gemini-2.5-flash",
            "gemini-2.5-flash",
            "normalised",
        ),
        ("gcp.vertex_ai", "claude-haiku-5-5@default", "claude-haiku-5-5@default", "exact"),
        ("gcp.vertex_ai", "claude-opus-5@latest", "claude-opus-5", "normalised"),
        ("anthropic", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5", "date"),
        ("azure.ai.openai", "azure/gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "normalised"),
        ("azure", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "exact"),
        ("openrouter", "openai/gpt-4o:nitro", "openai/gpt-4o", "normalised"),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
            "amazon.nova-lite-v1:0",
            "normalised",
        ),
        (
            "aws.bedrock",
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0",
            "eu.amazon.nova-pro-v1:0",
            "normalised",
        ),
    ],
)
def test_a_name_is_found(book: PriceBook, provider: str, name: str, key: str, rule: str) -> None:
    request = Request(provider=provider, operation="chat", model=name)
    cost = book.rate(request, Response(), Usage(input_uncached=1_000), NOW)
    assert (cost.status, cost.matched_key, cost.matched_by) == ("priced", key, rule)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        pytest.param("openai", "", id="nothing"),
        pytest.param("openai", "gpt-4o-foo", id="an unknown sibling"),
        pytest.param("openai", "gpt-4o-mini-2", id="a longer name"),
        pytest.param("openai", "gpt-4o-2031-01-31", id="a date that no rule covers"),
        pytest.param("openai", "gpt-5.6-sol-2027-13-41", id="no date"),
        pytest.param("openai", "gpt-5-nano-turbo", id="behind a prefix rule of the source"),
        pytest.param("openai", "gpt-4o-realtime-deluxe", id="behind another one"),
        pytest.param("openai", "ft:gpt-4o", id="a fine-tune without a dated base"),
        pytest.param("openai", "ft:gpt-5:org::a1", id="a fine-tune is never its base"),
        pytest.param("openai", "my-gpt-4o-deployment", id="a deployment"),
        pytest.param("gcp.gemini", "gemma-3", id="a model without any price"),
        pytest.param("gcp.gemini", "gemini-3.8-flash-cyber", id="a dearer sibling of a known one"),
        pytest.param("anthropic", "claude-sonnet-4-5-foo", id="a made-up sibling"),
        pytest.param("azure.ai.openai", "my-gpt4-deployment", id="an Azure deployment"),
        pytest.param(
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
            id="a customer's own profile",
        ),
        pytest.param("openrouter", "openai/gpt-4o:free", id="a free variant that nobody offers"),
    ],
)
def test_a_name_that_no_rule_covers_is_unpriced(book: PriceBook, provider: str, name: str) -> None:
    request = Request(provider=provider, operation="chat", model=name, max_output_tokens=1)
    cost = book.rate(request, Response(), Usage(input_uncached=1_000), NOW)
    assert (cost.status, cost.matched_key) == ("unpriced", None)
    assert book.bound(request, NOW).reasons == ("unpriced",)
