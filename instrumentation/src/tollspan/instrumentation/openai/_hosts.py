"""Hosts that speak OpenAI's protocol, and whose they are.

Names are `gen_ai.provider.name` of the semantic conventions where they have one. What is not here
counts as OpenAI's own, marked as assumed; `hosts:` in the rules adds to it. Sources: the providers'
own pages on their OpenAI-compatible endpoints, November 2026.
"""

from __future__ import annotations

from typing import Final

HOSTS: Final[dict[str, str]] = {
    "api.openai.com": "openai",
    "*.api.openai.com": "openai",
    "*.openai.azure.com": "azure.ai.openai",
    "*.services.ai.azure.com": "azure.ai.openai",
    "*.cognitiveservices.azure.com": "azure.ai.openai",
    "api.anthropic.com": "anthropic",
    "bedrock-runtime.*.amazonaws.com": "aws.bedrock",
    "bedrock-runtime-fips.*.amazonaws.com": "aws.bedrock",
    "bedrock-mantle.*.api.aws": "aws.bedrock",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "*-aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
    "api.mistral.ai": "mistral_ai",
    "codestral.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.novita.ai": "novita",
    "localhost:11434": "ollama",
    "127.0.0.1:11434": "ollama",
    "[::1]:11434": "ollama",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.x.ai": "x_ai",
    "*.api.x.ai": "x_ai",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
}
