"""Names that other people's spans use beside the conventions': read, and never written.

As seen in OpenLLMetry 0.62, OpenInference 0.1 and 3.1, and Anthropic's SDK 2.14 (November 2026).
"""

from __future__ import annotations

from typing import Final

# Older conventions, and OpenLLMetry's
GEN_AI_SYSTEM: Final = "gen_ai.system"
GEN_AI_USAGE_PROMPT_TOKENS: Final = "gen_ai.usage.prompt_tokens"
GEN_AI_USAGE_COMPLETION_TOKENS: Final = "gen_ai.usage.completion_tokens"
GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_USAGE_CACHE_READ_OLD: Final = "gen_ai.usage.cache_read_input_tokens"
GEN_AI_USAGE_CACHE_CREATION_OLD: Final = "gen_ai.usage.cache_creation_input_tokens"
GEN_AI_USAGE_REASONING_TOKENS: Final = "gen_ai.usage.reasoning_tokens"
GEN_AI_IS_STREAMING: Final = "gen_ai.is_streaming"
LLM_REQUEST_TYPE: Final = "llm.request.type"
TRACELOOP_SPAN_KIND: Final = "traceloop.span.kind"

# OpenInference's
OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"
LLM_PROVIDER: Final = "llm.provider"
LLM_SYSTEM: Final = "llm.system"
LLM_MODEL_NAME: Final = "llm.model_name"
LLM_REQUEST_MODEL_NAME: Final = "llm.request.model_name"
EMBEDDING_MODEL_NAME: Final = "embedding.model_name"
LLM_FINISH_REASON: Final = "llm.finish_reason"
LLM_PROMPT_TOKENS: Final = "llm.token_count.prompt"
LLM_COMPLETION_TOKENS: Final = "llm.token_count.completion"
LLM_CACHE_READ: Final = "llm.token_count.prompt_details.cache_read"
LLM_CACHE_WRITE: Final = "llm.token_count.prompt_details.cache_write"
LLM_AUDIO_IN: Final = "llm.token_count.prompt_details.audio"
LLM_AUDIO_OUT: Final = "llm.token_count.completion_details.audio"
LLM_REASONING: Final = "llm.token_count.completion_details.reasoning"

# Anthropic's SDK
ANTHROPIC_CACHE_WRITE_5M: Final = "anthropic.usage.cache_creation.ephemeral_5m_input_tokens"
ANTHROPIC_CACHE_WRITE_1H: Final = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"
