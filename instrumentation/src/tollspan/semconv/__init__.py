"""Names of attributes, metrics and operations: the GenAI conventions' and our own.

Source: open-telemetry/semantic-conventions-genai, as read in November 2026; the SDK's own constants
are deprecated in its favour.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"

# GenAI
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
GEN_AI_REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
GEN_AI_EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_USAGE_TEXT_INPUT_TOKENS: Final = "gen_ai.usage.text.input_tokens"
GEN_AI_USAGE_IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
GEN_AI_USAGE_AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
GEN_AI_USAGE_VIDEO_INPUT_TOKENS: Final = "gen_ai.usage.video.input_tokens"
GEN_AI_USAGE_TEXT_OUTPUT_TOKENS: Final = "gen_ai.usage.text.output_tokens"
GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"
GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
# As the conventions' pull request 443 has them: not merged, and off unless asked for
GEN_AI_USAGE_COST_AMOUNT: Final = "gen_ai.usage.cost.amount"
GEN_AI_USAGE_COST_CURRENCY: Final = "gen_ai.usage.cost.currency"
GEN_AI_USAGE_COST_SOURCE: Final = "gen_ai.usage.cost.source"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - an attribute's name
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
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
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_NAME: Final = "service.name"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"

# OpenInference's, read only: its spans carry no `gen_ai.operation.name`
OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"

# Ours
TOLLSPAN_ASKED_MODEL: Final = "tollspan.asked.model"
TOLLSPAN_BUDGET_ASKED: Final = "tollspan.budget.asked"
TOLLSPAN_BUDGET_HELD: Final = "tollspan.budget.held"
TOLLSPAN_BUDGET_ID: Final = "tollspan.budget.id"
TOLLSPAN_BUDGET_LIMIT: Final = "tollspan.budget.limit"
TOLLSPAN_BUDGET_SCOPE: Final = "tollspan.budget.scope"
TOLLSPAN_BUDGET_SPENT: Final = "tollspan.budget.spent"
TOLLSPAN_BUDGET_UNIT: Final = "tollspan.budget.unit"
TOLLSPAN_CALL_ID: Final = "tollspan.call.id"
TOLLSPAN_CLAMPED_FROM: Final = "tollspan.clamped.from"
TOLLSPAN_CLAMPED_TO: Final = "tollspan.clamped.to"
TOLLSPAN_COST_USD: Final = "tollspan.cost.usd"
TOLLSPAN_COST_NANOUSD: Final = "tollspan.cost.nanousd"
TOLLSPAN_COST_STATUS: Final = "tollspan.cost.status"
TOLLSPAN_CUSTOMER_ID: Final = "tollspan.customer.id"
TOLLSPAN_DECISION: Final = "tollspan.decision"
TOLLSPAN_JOB_ID: Final = "tollspan.job.id"
TOLLSPAN_FEATURE: Final = "tollspan.feature"
TOLLSPAN_MCP_SERVER_NAME: Final = "tollspan.mcp.server.name"
TOLLSPAN_PLACE: Final = "tollspan.place"
TOLLSPAN_PROJECT: Final = "tollspan.project"
TOLLSPAN_RULE_ID: Final = "tollspan.rule.id"
TOLLSPAN_STEP: Final = "tollspan.step"
TOLLSPAN_TAG_PREFIX: Final = "tollspan.tag."  # and the tag's name
TOLLSPAN_TEAM: Final = "tollspan.team"
TOLLSPAN_TOKEN_BUCKET: Final = "tollspan.token.bucket"  # noqa: S105 - an attribute's name
TOLLSPAN_USAGE_STATUS: Final = "tollspan.usage.status"
TOLLSPAN_WARNING_AMOUNT: Final = "tollspan.warning.amount"
TOLLSPAN_WARNING_REASON: Final = "tollspan.warning.reason"
TOLLSPAN_WARNING_SHARE: Final = "tollspan.warning.share"

# Entries of ours in W3C baggage begin so
BAGGAGE_PREFIX: Final = "tollspan."

EVENT_DECISION: Final = "tollspan.decision"
EVENT_WARNING: Final = "tollspan.warning"

OPERATION_CHAT: Final = "chat"
OPERATION_EMBEDDINGS: Final = "embeddings"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
OPERATION_GENERATE_CONTENT: Final = "generate_content"
OPERATION_MODERATION: Final = "moderation"  # the conventions have no name for it
METHOD_TOOLS_CALL: Final = "tools/call"
TOOL_TYPE_FUNCTION: Final = "function"
OPERATION_TEXT_COMPLETION: Final = "text_completion"
PROVIDER_OPENAI: Final = "openai"
PROVIDER_ANTHROPIC: Final = "anthropic"

# Metrics
DURATION_BUCKETS_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
TOKEN_BUCKETS_TOKENS: Final = tuple(float(4**power) for power in range(14))
TOOL_BUCKETS_SECONDS: Final = tuple(0.1 * 2**power for power in range(13))
MCP_BUCKETS_SECONDS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
# From 10 microseconds, with nothing in the gate's way, to a second, where it gives up.
GATE_BUCKETS_SECONDS: Final = (
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25,
    0.5, 1.0,
)  # fmt: skip


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name, unit, description: As OpenTelemetry has them.
        kind: Which instrument it is.
        buckets: Upper bounds of a histogram's buckets, in `unit`; `()` for other kinds.
    """

    name: str
    kind: Literal["histogram", "counter", "observable counter", "observable gauge"]
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


METRIC_OPERATION_DURATION: Final = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "GenAI operation duration.",
    DURATION_BUCKETS_SECONDS,
)
METRIC_TOKEN_USAGE: Final = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Number of input and output tokens used.",
    TOKEN_BUCKETS_TOKENS,
)
METRIC_TIME_TO_FIRST_CHUNK: Final = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    "Time from the request to the first chunk of a stream.",
    DURATION_BUCKETS_SECONDS,
)
METRIC_TIME_PER_OUTPUT_CHUNK: Final = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    "Time from one chunk of a stream to the next.",
    DURATION_BUCKETS_SECONDS,
)
METRIC_EXECUTE_TOOL_DURATION: Final = Metric(
    "gen_ai.execute_tool.duration",
    "histogram",
    "s",
    "Duration of a tool's execution.",
    TOOL_BUCKETS_SECONDS,
)
METRIC_MCP_DURATION: Final = Metric(
    "mcp.client.operation.duration",
    "histogram",
    "s",
    "Duration of a request to an MCP server, as its client sees it.",
    MCP_BUCKETS_SECONDS,
)
METRIC_COST: Final = Metric(
    "tollspan.cost", "counter", "USD", "Cost of calls, as priced by tollspan."
)
METRIC_TOKENS: Final = Metric(
    "tollspan.tokens", "counter", "{token}", "Tokens of calls, each in one bucket."
)
METRIC_DECISIONS: Final = Metric(
    "tollspan.decisions", "counter", "{call}", "Decisions of the budget gate."
)
METRIC_UNPRICED: Final = Metric(
    "tollspan.unpriced_calls",
    "counter",
    "{call}",
    "Calls without a full price: they are never counted as free.",
)
METRIC_OVERRUNS: Final = Metric(
    "tollspan.overruns",
    "counter",
    "{call}",
    "Calls that used more than was held for them.",
)
METRIC_WARNINGS: Final = Metric(
    "tollspan.warnings",
    "counter",
    "{warning}",
    "Warnings, as the program's functions and the logs are told them.",
)
METRIC_GATE_DURATION: Final = Metric(
    "tollspan.gate.duration",
    "histogram",
    "s",
    "Time that a call waited for the decision of the budget gate.",
    GATE_BUCKETS_SECONDS,
)
METRIC_BUDGET_LIMIT: Final = Metric(
    "tollspan.budget.limit", "observable gauge", "1", "Limit of a budget."
)
METRIC_BUDGET_SPENT: Final = Metric(
    "tollspan.budget.spent", "observable gauge", "1", "Spent of a budget, in the window in force."
)
METRIC_BUDGET_HELD: Final = Metric(
    "tollspan.budget.held",
    "observable gauge",
    "1",
    "Held of a budget by calls in flight, and by calls that were never heard of again.",
)
METRIC_BUDGET_REMAINING: Final = Metric(
    "tollspan.budget.remaining",
    "observable gauge",
    "1",
    "What is left of a budget: limit less spent and held, never below 0.",
)
METRIC_BUDGET_UNRESOLVED: Final = Metric(
    "tollspan.budget.unresolved",
    "observable gauge",
    "1",
    "What of the held is counted though nobody knows whether it was spent.",
)
METRIC_BUDGET_PERIOD: Final = Metric(
    "tollspan.budget.period", "observable gauge", "s", "How long a budget's window in force is."
)
METRIC_BUDGET_RESETS_IN: Final = Metric(
    "tollspan.budget.resets_in",
    "observable gauge",
    "s",
    "Time until a budget's window in force ends.",
)
METRIC_LEASE_GRANTED: Final = Metric(
    "tollspan.lease.granted",
    "observable counter",
    "1",
    "All that this process's leases were ever granted of a budget.",
)
METRIC_LEASE_REMAINING: Final = Metric(
    "tollspan.lease.remaining",
    "observable gauge",
    "1",
    "What this process's lease has of a budget that no call holds.",
)
METRIC_LEASE_REQUESTS: Final = Metric(
    "tollspan.lease.requests",
    "observable counter",
    "{request}",
    "Questions for more that the authority answered.",
)
METRIC_LEASE_FAILURES: Final = Metric(
    "tollspan.lease.failures",
    "observable counter",
    "{request}",
    "Questions for more that the authority could not answer.",
)
METRIC_LEASE_WAITS: Final = Metric(
    "tollspan.lease.waits",
    "observable counter",
    "{call}",
    "Calls that waited for the authority, since the lease had too little.",
)
METRIC_LEASE_LOST: Final = Metric(
    "tollspan.lease.lost",
    "observable counter",
    "{lease}",
    "Leases that were over before this process gave them back.",
)
METRIC_SETTLING_EVENTS: Final = Metric(
    "tollspan.settling.events",
    "observable gauge",
    "{event}",
    "Events of this host that its shared authority was not told yet.",
)
METRIC_OUTBOX_EVENTS: Final = Metric(
    "tollspan.outbox.events",
    "observable gauge",
    "{event}",
    "Events that wait outside the ledger, which could not take them.",
)
METRIC_OUTBOX_AGE: Final = Metric(
    "tollspan.outbox.age", "observable gauge", "s", "Age of the oldest event that waits."
)
METRIC_SHIPPING_WAITING: Final = Metric(
    "tollspan.shipping.waiting",
    "observable gauge",
    "{event}",
    "Events of this host that are to be sent to the ingest API.",
)
METRIC_SHIPPING_AGE: Final = Metric(
    "tollspan.shipping.age", "observable gauge", "s", "Age of the oldest event that is to be sent."
)
METRIC_SHIPPING_SENT: Final = Metric(
    "tollspan.shipping.sent",
    "observable counter",
    "{event}",
    "Events that this process has sent and the ingest API has taken.",
)
METRIC_SHIPPING_REJECTED: Final = Metric(
    "tollspan.shipping.rejected",
    "observable counter",
    "{event}",
    "Events that this process has sent and the ingest API refused for good.",
)
METRIC_SHIPPING_FAILURES: Final = Metric(
    "tollspan.shipping.failures",
    "observable counter",
    "{request}",
    "Batches of this process that the ingest API did not take, and that are sent again.",
)
METRIC_INTERNAL_ERRORS: Final = Metric(
    "tollspan.internal.errors",
    "observable counter",
    "{error}",
    "tollspan's own failures; the program's calls went on without it.",
)
METRICS: Final = (
    METRIC_OPERATION_DURATION,
    METRIC_TOKEN_USAGE,
    METRIC_TIME_TO_FIRST_CHUNK,
    METRIC_TIME_PER_OUTPUT_CHUNK,
    METRIC_EXECUTE_TOOL_DURATION,
    METRIC_MCP_DURATION,
    METRIC_COST,
    METRIC_TOKENS,
    METRIC_DECISIONS,
    METRIC_UNPRICED,
    METRIC_OVERRUNS,
    METRIC_WARNINGS,
    METRIC_GATE_DURATION,
    METRIC_BUDGET_LIMIT,
    METRIC_BUDGET_SPENT,
    METRIC_BUDGET_HELD,
    METRIC_BUDGET_UNRESOLVED,
    METRIC_BUDGET_REMAINING,
    METRIC_BUDGET_PERIOD,
    METRIC_BUDGET_RESETS_IN,
    METRIC_LEASE_GRANTED,
    METRIC_LEASE_REMAINING,
    METRIC_LEASE_REQUESTS,
    METRIC_LEASE_FAILURES,
    METRIC_LEASE_WAITS,
    METRIC_LEASE_LOST,
    METRIC_SETTLING_EVENTS,
    METRIC_OUTBOX_EVENTS,
    METRIC_OUTBOX_AGE,
    METRIC_SHIPPING_WAITING,
    METRIC_SHIPPING_AGE,
    METRIC_SHIPPING_SENT,
    METRIC_SHIPPING_REJECTED,
    METRIC_SHIPPING_FAILURES,
    METRIC_INTERNAL_ERRORS,
)
