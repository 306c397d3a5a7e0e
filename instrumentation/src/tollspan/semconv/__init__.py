"""Names of attributes, metrics and operations: the GenAI conventions' and our own.

Source: open-telemetry/semantic-conventions-genai, as read in November 2026; the SDK's own constants
are deprecated in its favour.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"

# GenAI
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - an attribute's name
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
# As Anthropic's own SDK (2.12) names it
ANTHROPIC_RESPONSE_SERVICE_TIER: Final = "anthropic.response.service_tier"

# MCP
MCP_METHOD_NAME: Final = "mcp.method.name"
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"
MCP_SESSION_ID: Final = "mcp.session.id"
JSONRPC_REQUEST_ID: Final = "jsonrpc.request.id"
NETWORK_TRANSPORT: Final = "network.transport"

# General
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SERVICE_NAME: Final = "service.name"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"

# OpenInference's, read only: its spans carry no `gen_ai.operation.name`
OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"

# Ours
TOLLSPAN_CALL_ID: Final = "tollspan.call.id"
TOLLSPAN_COST_USD: Final = "tollspan.cost.usd"
TOLLSPAN_COST_NANOUSD: Final = "tollspan.cost.nanousd"
TOLLSPAN_COST_STATUS: Final = "tollspan.cost.status"
TOLLSPAN_CUSTOMER_ID: Final = "tollspan.customer.id"
TOLLSPAN_DECISION: Final = "tollspan.decision"
TOLLSPAN_FEATURE: Final = "tollspan.feature"
TOLLSPAN_MCP_SERVER_NAME: Final = "tollspan.mcp.server.name"
TOLLSPAN_PLACE: Final = "tollspan.place"
TOLLSPAN_PROJECT: Final = "tollspan.project"
TOLLSPAN_RULE_ID: Final = "tollspan.rule.id"
TOLLSPAN_STEP: Final = "tollspan.step"
TOLLSPAN_TAG_PREFIX: Final = "tollspan.tag."  # and the tag's name
TOLLSPAN_TEAM: Final = "tollspan.team"
TOLLSPAN_USAGE_STATUS: Final = "tollspan.usage.status"

# Entries of ours in W3C baggage begin so
BAGGAGE_PREFIX: Final = "tollspan."

# Metrics
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
METRIC_MCP_DURATION: Final = "mcp.client.operation.duration"
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a metric's name
METRIC_COST: Final = "tollspan.cost"
METRIC_DECISIONS: Final = "tollspan.decisions"
METRIC_UNPRICED: Final = "tollspan.unpriced_calls"
METRIC_INTERNAL_ERRORS: Final = "tollspan.internal.errors"
DURATION_BUCKETS_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
MCP_BUCKETS_SECONDS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
TOKEN_BUCKETS_TOKENS: Final = tuple(4**power for power in range(14))

OPERATION_CHAT: Final = "chat"
OPERATION_EMBEDDINGS: Final = "embeddings"
OPERATION_MODERATION: Final = "moderation"  # the conventions have no name for it
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
METHOD_TOOLS_CALL: Final = "tools/call"
TOOL_TYPE_FUNCTION: Final = "function"
OPERATION_TEXT_COMPLETION: Final = "text_completion"
PROVIDER_OPENAI: Final = "openai"
PROVIDER_ANTHROPIC: Final = "anthropic"
