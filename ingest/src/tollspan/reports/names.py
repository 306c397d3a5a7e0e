"""What providers, makers, meters and units are called in reports for people and their tools."""

from __future__ import annotations

import re
from typing import Final

from tollspan.usage import TOKEN_BUCKETS, unit_word

from .parts import WHOLE

# Provider, as in `gen_ai.provider.name` → who bills, and the service.
_PROVIDERS: Final = {
    "anthropic": ("Anthropic", "Claude API"),
    "aws.bedrock": ("AWS", "Amazon Bedrock"),
    "azure.ai.inference": ("Microsoft", "Azure AI Foundry"),
    "azure.ai.openai": ("Microsoft", "Azure OpenAI"),
    "cohere": ("Cohere", "Cohere API"),
    "deepseek": ("DeepSeek", "DeepSeek API"),
    "gcp.gemini": ("Google", "Gemini API"),
    "gcp.vertex_ai": ("Google Cloud", "Vertex AI"),
    "groq": ("Groq", "GroqCloud"),
    "mistral_ai": ("Mistral AI", "Mistral AI API"),
    "openai": ("OpenAI", "OpenAI API"),
    "openrouter": ("OpenRouter", "OpenRouter API"),
    "perplexity": ("Perplexity", "Perplexity API"),
    "x_ai": ("xAI", "xAI API"),
}
# How the names of a maker's models begin, whoever sells them.
_MAKERS: Final = {
    "claude": "Anthropic",
    "gpt": "OpenAI",
    "chatgpt": "OpenAI",
    "o1": "OpenAI",
    "o3": "OpenAI",
    "o4": "OpenAI",
    "gemini": "Google",
    "gemma": "Google",
    "llama": "Meta",
    "mistral": "Mistral AI",
    "mixtral": "Mistral AI",
    "nova": "Amazon",
    "titan": "Amazon",
    "command": "Cohere",
    "deepseek": "DeepSeek",
    "grok": "xAI",
    "qwen": "Alibaba Cloud",
}
_METERS: Final = {
    "input_uncached": "Input Tokens",
    "input": "Input Tokens",
    "cache_read": "Cached Input Tokens",
    "cache_write": "Cache Write Tokens",
    "cache_write_5m": "Cache Write Tokens (5 minutes)",
    "cache_write_1h": "Cache Write Tokens (1 hour)",
    "audio_in": "Audio Input Tokens",
    "audio_cache_read": "Cached Audio Input Tokens",
    "image_in": "Image Input Tokens",
    "image_cache_read": "Cached Image Input Tokens",
    "video_in": "Video Input Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Tokens",
    "audio_out": "Audio Output Tokens",
    "image_out": "Image Output Tokens",
    "video_out": "Video Output Tokens",
    WHOLE: "Usage",
}
_VENDOR: Final = re.compile(r"^(?:[a-z]{2,6}\.)?[a-z0-9]+[./](?=[a-z])")
_DATE: Final = re.compile(r"[-@](20[0-9]{2}-?[01][0-9]-?[0-3][0-9])\b")
_MILLISECONDS: Final = "_ms"
_TOKENS: Final = frozenset((*TOKEN_BUCKETS, "input", "output"))


def provider_name(provider: str) -> str:
    """Name who bills, as people write it; the provider's own id where no name is known."""
    return _PROVIDERS.get(provider, (provider or "unknown", ""))[0]


def service_name(provider: str) -> str:
    """Name a provider's service."""
    return _PROVIDERS.get(provider, ("", provider or "unknown"))[1]


def maker_name(model: str) -> str | None:
    """Name who makes a model, whoever sells it; None where its name does not say."""
    bare = _VENDOR.sub("", model.lower())
    return next((maker for start, maker in _MAKERS.items() if bare.startswith(start)), None)


def model_version(model: str) -> str | None:
    """Return the date in a model's name; None without one."""
    found = _DATE.search(model)
    return None if found is None else found[1]


def meter_name(unit: str) -> str:
    """Name what is measured: `Cached Input Tokens`, `Web Searches`."""
    base, _, variant = unit.partition(":")
    known = _METERS.get(base) or unit_word(base.removesuffix(_MILLISECONDS)).title()
    return f"{known} ({variant})" if variant else known


def is_tokens(unit: str) -> bool:
    """Say whether a unit is a bucket of tokens, or all that come in or go out."""
    return unit in _TOKENS


def is_milliseconds(unit: str) -> bool:
    """Say whether a unit counts time."""
    return unit.partition(":")[0].endswith(_MILLISECONDS)


def unit_name(unit: str) -> str:
    """Name what is counted: `Tokens`, `Seconds`, `Images`."""
    if is_tokens(unit):
        return "Tokens"
    if is_milliseconds(unit):
        return "Seconds"
    return "Calls" if unit == WHOLE else unit_word(unit.partition(":")[0]).title()
