"""What no table says of a single model: fees, hosts, and the names of providers."""

from __future__ import annotations

PICOUSD_PER_CENT = 10**10

# Tiers in which a call may run that names none (or `auto`), because its project is set so.
# https://developers.openai.com/api/reference, project service tier settings, read 2026-11-22.
AUTO_TIERS = {"openai": ["fast", "priority"]}
# Unit, and pico-USD for one, whatever the model.
FEES = {
    # Anthropic charges nothing for web fetch besides its tokens. Code execution is billed by the
    # hour of its container, which no answer tells: it stays without a price.
    "anthropic": {"web_fetches": 0},
    "gcp.vertex_ai": {"web_fetches": 0},
    # LiteLLM's entries `openai/container` and `azure/container`: cost of a session.
    "openai": {"code_sessions": 3 * PICOUSD_PER_CENT},
    "azure.ai.openai": {"code_sessions": 33 * PICOUSD_PER_CENT // 10},
}
# Hosts that run a call in a region: those for which LiteLLM's table has an uplift, and those of the
# clouds, whose `*` is the region's own name.
HOSTS = {
    "aws.bedrock": {
        "bedrock-mantle.*.api.aws": "*",
        "bedrock-runtime.*.amazonaws.com": "*",
        "bedrock-runtime-fips.*.amazonaws.com": "*",
    },
    "gcp.vertex_ai": {"*-aiplatform.googleapis.com": "*"},
    "openai": {"eu.api.openai.com": "eu", "us.api.openai.com": "us"},
}
# Providers that sell other providers' models at their prices. Vertex AI has prices of its own only
# for Anthropic's models in the table.
FALLBACKS = {"gcp.vertex_ai": ["gcp.gemini"]}
# Providers whose answers say what they cost, and whose list prices are not what is charged: the
# host that serves a call is chosen call by call.
REPORTED = {"openrouter"}
# Other names of providers: those of the semantic conventions that share a price list, and names
# that SDKs and other instrumentations use.
PROVIDER_ALIASES = {
    "amazon_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "az.ai.inference": "azure.ai.openai",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "azure.ai.inference": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "fal": "fal_ai",
    "fal.ai": "fal_ai",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "gcp.gemini",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
