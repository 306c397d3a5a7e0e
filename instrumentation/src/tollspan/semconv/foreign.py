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

# Vercel's AI SDK's, 4 to 6: later ones say the same in other words
AI_OPERATION_ID: Final = "ai.operationId"
AI_MODEL_ID: Final = "ai.model.id"
AI_MODEL_PROVIDER: Final = "ai.model.provider"
AI_RESPONSE_ID: Final = "ai.response.id"
AI_RESPONSE_MODEL: Final = "ai.response.model"
AI_USAGE_INPUT: Final = "ai.usage.inputTokens"
AI_USAGE_OUTPUT: Final = "ai.usage.outputTokens"
AI_USAGE_PROMPT: Final = "ai.usage.promptTokens"
AI_USAGE_COMPLETION: Final = "ai.usage.completionTokens"
AI_USAGE_EMBEDDED: Final = "ai.usage.tokens"
AI_USAGE_CACHED: Final = "ai.usage.cachedInputTokens"
AI_USAGE_REASONING: Final = "ai.usage.reasoningTokens"
AI_USAGE_NOT_CACHED: Final = "ai.usage.inputTokenDetails.noCacheTokens"
AI_USAGE_CACHE_READ: Final = "ai.usage.inputTokenDetails.cacheReadTokens"
AI_USAGE_CACHE_WRITE: Final = "ai.usage.inputTokenDetails.cacheWriteTokens"
AI_USAGE_DETAILS_REASONING: Final = "ai.usage.outputTokenDetails.reasoningTokens"
AI_USER_ID: Final = "ai.telemetry.metadata.userId"
AI_SESSION_ID: Final = "ai.telemetry.metadata.sessionId"

# Pydantic AI's and Logfire's
DETAILS_CACHE_READ: Final = "gen_ai.usage.details.cache_read_tokens"
DETAILS_CACHE_WRITE: Final = "gen_ai.usage.details.cache_write_tokens"
DETAILS_REASONING: Final = "gen_ai.usage.details.reasoning_tokens"

# Langfuse's SDKs'
LANGFUSE_TYPE: Final = "langfuse.observation.type"
LANGFUSE_MODEL: Final = "langfuse.observation.model.name"
LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
LANGFUSE_USER_ID: Final = "langfuse.user.id"
LANGFUSE_SESSION_ID: Final = "langfuse.session.id"
LANGFUSE_ENVIRONMENT: Final = "langfuse.environment"

# OpenLLMetry's of whom it is, and OpenLIT's of where
TRACELOOP_CUSTOMER_ID: Final = "traceloop.association.properties.customer_id"
TRACELOOP_USER_ID: Final = "traceloop.association.properties.user_id"
TRACELOOP_SESSION_ID: Final = "traceloop.association.properties.session_id"
GEN_AI_ENVIRONMENT: Final = "gen_ai.environment"
DEPLOYMENT_ENVIRONMENT_OLD: Final = "deployment.environment"
