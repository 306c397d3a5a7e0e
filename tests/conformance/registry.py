"""The GenAI conventions as tables, and our own names beside them.

Transcribed in November 2026 from open-telemetry/semantic-conventions-genai (docs/gen-ai, as of its
schema 1.42.0), from the conventions' provider pages of OpenAI and Anthropic, and from what the
official Python instrumentation of that time (opentelemetry-util-genai 1.3b0) emits. Written by
hand, and not with our constants: a name that is wrong there must not be right here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# R: required. C: required under a condition that `checker.py` knows. r: recommended: told where it
# is known. O: only when the user opts in.
Level = Literal["R", "C", "r", "O"]
Type = Literal["string", "int", "double", "bool", "string[]"]


class Attribute(NamedTuple):
    """One attribute: its type on the wire and its level on one kind of span or metric."""

    type: Type
    level: Level


class SpanType(NamedTuple):
    """One type of span.

    Attributes:
        operations: Values of `gen_ai.operation.name`.
        name: Its name, with attributes in braces.
        kinds: Kinds that it may have.
        attributes: What may be on it.
    """

    operations: frozenset[str]
    name: str
    kinds: tuple[str, ...]
    attributes: dict[str, Attribute]


class MetricType(NamedTuple):
    """One metric: `kind` as the receiver names it, `bounds` of a histogram's buckets."""

    kind: Literal["histogram", "sum", "gauge"]
    unit: str
    attributes: dict[str, Attribute]
    bounds: tuple[float, ...] = ()


_EVERY_CLIENT_SPAN = {
    "gen_ai.operation.name": Attribute("string", "R"),
    "gen_ai.provider.name": Attribute("string", "R"),
    "gen_ai.request.model": Attribute("string", "C"),
    "server.address": Attribute("string", "r"),
    "server.port": Attribute("int", "C"),
    "error.type": Attribute("string", "C"),
    "gen_ai.response.model": Attribute("string", "r"),
    "gen_ai.usage.input_tokens": Attribute("int", "r"),
}
_OPENAI = {
    "openai.request.service_tier": Attribute("string", "C"),
    "openai.response.service_tier": Attribute("string", "C"),
    "openai.response.system_fingerprint": Attribute("string", "r"),
    "openai.api.type": Attribute("string", "r"),
}
_ANTHROPIC = {"anthropic.response.service_tier": Attribute("string", "r")}
_MODALITIES = {
    f"gen_ai.usage.{modality}.{way}_tokens": Attribute("int", "r")
    for way, modalities in (
        ("input", ("text", "image", "audio", "video")),
        ("output", ("text", "image", "audio")),
    )
    for modality in modalities
}
# Ours, on a span of any type that is about a call to a provider or a tool.
OURS = {
    "tollspan.mcp.server.name": Attribute("string", "C"),
    "tollspan.call.id": Attribute("string", "R"),
    "tollspan.decision": Attribute("string", "R"),
    "tollspan.rule.id": Attribute("string", "C"),
    "tollspan.asked.model": Attribute("string", "C"),
    "tollspan.clamped.to": Attribute("int", "C"),
    "tollspan.clamped.from": Attribute("int", "C"),
    "tollspan.cost.status": Attribute("string", "C"),
    "tollspan.cost.nanousd": Attribute("int", "C"),
    "tollspan.cost.usd": Attribute("double", "C"),
    "tollspan.job.id": Attribute("string", "C"),
    "tollspan.usage.status": Attribute("string", "C"),
    "tollspan.customer.id": Attribute("string", "C"),
    "session.id": Attribute("string", "C"),
    "user.id": Attribute("string", "C"),
    "gen_ai.agent.name": Attribute("string", "C"),
    "tollspan.feature": Attribute("string", "C"),
    "tollspan.step": Attribute("string", "C"),
    "tollspan.team": Attribute("string", "C"),
    "tollspan.project": Attribute("string", "C"),
}
# Tags have names of the user's own.
OUR_PREFIXES = ("tollspan.tag.",)

INFERENCE = SpanType(
    frozenset({"chat", "generate_content", "text_completion"}),
    "{gen_ai.operation.name} {gen_ai.request.model}",
    ("SPAN_KIND_CLIENT", "SPAN_KIND_INTERNAL"),
    {
        **_EVERY_CLIENT_SPAN,
        "gen_ai.conversation.id": Attribute("string", "C"),
        "gen_ai.output.type": Attribute("string", "C"),
        "gen_ai.request.stream": Attribute("bool", "C"),
        "gen_ai.request.choice.count": Attribute("int", "C"),
        "gen_ai.request.seed": Attribute("int", "C"),
        "gen_ai.request.top_k": Attribute("double", "r"),
        "gen_ai.request.max_tokens": Attribute("int", "r"),
        "gen_ai.request.temperature": Attribute("double", "r"),
        "gen_ai.request.top_p": Attribute("double", "r"),
        "gen_ai.request.frequency_penalty": Attribute("double", "r"),
        "gen_ai.request.presence_penalty": Attribute("double", "r"),
        "gen_ai.request.stop_sequences": Attribute("string[]", "r"),
        "gen_ai.request.reasoning.level": Attribute("string", "r"),
        "gen_ai.request.previous_response.id": Attribute("string", "r"),
        "gen_ai.response.id": Attribute("string", "r"),
        "gen_ai.response.finish_reasons": Attribute("string[]", "r"),
        "gen_ai.response.time_to_first_chunk": Attribute("double", "r"),
        "gen_ai.usage.cache_read.input_tokens": Attribute("int", "r"),
        "gen_ai.usage.cache_write.input_tokens": Attribute("int", "r"),
        "gen_ai.usage.output_tokens": Attribute("int", "r"),
        "gen_ai.usage.reasoning.output_tokens": Attribute("int", "r"),
        **_MODALITIES,
        # Not merged: pull request 443. Off unless asked for.
        "gen_ai.usage.cost.amount": Attribute("double", "O"),
        "gen_ai.usage.cost.currency": Attribute("string", "O"),
        "gen_ai.usage.cost.source": Attribute("string", "O"),
        "gen_ai.system_instructions": Attribute("string", "O"),
        "gen_ai.input.messages": Attribute("string", "O"),
        "gen_ai.output.messages": Attribute("string", "O"),
        "gen_ai.tool.definitions": Attribute("string", "O"),
        **_OPENAI,
        **_ANTHROPIC,
    },
)
EMBEDDINGS = SpanType(
    frozenset({"embeddings"}),
    "{gen_ai.operation.name} {gen_ai.request.model}",
    ("SPAN_KIND_CLIENT",),
    {
        **_EVERY_CLIENT_SPAN,
        "gen_ai.request.encoding_formats": Attribute("string[]", "r"),
        "gen_ai.embeddings.dimension.count": Attribute("int", "r"),
        **_OPENAI,
    },
)
EXECUTE_TOOL = SpanType(
    frozenset({"execute_tool"}),
    "execute_tool {gen_ai.tool.name}",
    ("SPAN_KIND_INTERNAL",),
    {
        "gen_ai.operation.name": Attribute("string", "R"),
        "gen_ai.tool.name": Attribute("string", "R"),
        "gen_ai.tool.call.id": Attribute("string", "r"),
        "gen_ai.tool.type": Attribute("string", "r"),
        "gen_ai.tool.description": Attribute("string", "r"),
        "gen_ai.tool.call.arguments": Attribute("string", "O"),
        "gen_ai.tool.call.result": Attribute("string", "O"),
        "error.type": Attribute("string", "C"),
    },
)
MCP_CLIENT = SpanType(
    frozenset({"execute_tool"}),
    "{mcp.method.name} {gen_ai.tool.name}",
    ("SPAN_KIND_CLIENT",),
    {
        "mcp.method.name": Attribute("string", "R"),
        "gen_ai.operation.name": Attribute("string", "r"),
        "gen_ai.tool.name": Attribute("string", "C"),
        "mcp.protocol.version": Attribute("string", "r"),
        "mcp.session.id": Attribute("string", "r"),
        "jsonrpc.request.id": Attribute("string", "C"),
        "network.transport": Attribute("string", "r"),
        "server.address": Attribute("string", "r"),
        "server.port": Attribute("int", "r"),
        "error.type": Attribute("string", "C"),
    },
)
SPAN_TYPES = (INFERENCE, EMBEDDINGS, MCP_CLIENT, EXECUTE_TOOL)
PROVIDERS = frozenset(
    {
        "openai", "gcp.gen_ai", "gcp.vertex_ai", "gcp.gemini", "anthropic", "cohere",
        "azure.ai.inference", "azure.ai.openai", "ibm.watsonx.ai", "aws.bedrock", "perplexity",
        "x_ai", "deepseek", "groq", "mistral_ai", "moonshot_ai",
    }
)  # fmt: skip
OUTPUT_TYPES = frozenset({"text", "json", "image", "speech"})
# What instrumentations emitted before; each has another name now, or none.
DEPRECATED = frozenset(
    {
        "gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens",
        "gen_ai.prompt", "gen_ai.completion", "gen_ai.openai.request.response_format",
        "gen_ai.openai.request.seed", "gen_ai.openai.request.service_tier",
        "gen_ai.openai.response.service_tier", "gen_ai.openai.response.system_fingerprint",
        "gen_ai.usage.cache_creation.input_tokens",
    }
)  # fmt: skip
# Part → what it is a part of.
SUBSETS = {
    "gen_ai.usage.cache_read.input_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.reasoning.output_tokens": "gen_ai.usage.output_tokens",
    **{name: f"gen_ai.usage.{name.rsplit('.', 1)[1]}" for name in _MODALITIES},
}

_DURATIONS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(float(4**power) for power in range(14))
_OF_CALLS = {
    name: attribute
    for name, attribute in _EVERY_CLIENT_SPAN.items()
    if name != "gen_ai.usage.input_tokens"
}
_OF_BUDGETS = {
    "tollspan.budget.id": Attribute("string", "R"),
    "tollspan.budget.unit": Attribute("string", "R"),
    "tollspan.budget.scope": Attribute("string", "O"),
}
_OF_LEASES = {
    "tollspan.budget.id": Attribute("string", "R"),
    "tollspan.budget.unit": Attribute("string", "R"),
}
# Ours are of tools too, which have no provider.
_OURS_OF_CALLS = {
    **_OF_CALLS,
    "gen_ai.provider.name": Attribute("string", "C"),
    "gen_ai.tool.name": Attribute("string", "C"),
    "gen_ai.tool.type": Attribute("string", "r"),
    "mcp.method.name": Attribute("string", "C"),
}
METRIC_TYPES = {
    "gen_ai.client.operation.duration": MetricType("histogram", "s", _OF_CALLS, _DURATIONS),
    "gen_ai.client.token.usage": MetricType(
        "histogram",
        "{token}",
        {**_OF_CALLS, "gen_ai.token.type": Attribute("string", "R")},
        _TOKENS,
    ),
    "gen_ai.client.operation.time_to_first_chunk": MetricType(
        "histogram", "s", _OF_CALLS, _DURATIONS
    ),
    "gen_ai.client.operation.time_per_output_chunk": MetricType(
        "histogram", "s", _OF_CALLS, _DURATIONS
    ),
    "gen_ai.execute_tool.duration": MetricType(
        "histogram",
        "s",
        {
            "gen_ai.operation.name": Attribute("string", "r"),
            "gen_ai.tool.name": Attribute("string", "R"),
            "gen_ai.tool.type": Attribute("string", "r"),
            "error.type": Attribute("string", "C"),
        },
        tuple(0.1 * 2**power for power in range(13)),
    ),
    "mcp.client.operation.duration": MetricType(
        "histogram",
        "s",
        {
            "gen_ai.operation.name": Attribute("string", "r"),
            "gen_ai.tool.name": Attribute("string", "C"),
            "mcp.method.name": Attribute("string", "R"),
            "error.type": Attribute("string", "C"),
        },
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
    ),
    "tollspan.cost": MetricType("sum", "USD", _OURS_OF_CALLS),
    "tollspan.tokens": MetricType(
        "sum", "{token}", {**_OURS_OF_CALLS, "tollspan.token.bucket": Attribute("string", "R")}
    ),
    "tollspan.decisions": MetricType(
        "sum",
        "{call}",
        {
            **_OURS_OF_CALLS,
            "tollspan.decision": Attribute("string", "R"),
            "tollspan.rule.id": Attribute("string", "C"),
        },
    ),
    "tollspan.unpriced_calls": MetricType("sum", "{call}", _OURS_OF_CALLS),
    "tollspan.overruns": MetricType("sum", "{call}", _OURS_OF_CALLS),
    "tollspan.gate.duration": MetricType(
        "histogram",
        "s",
        {"tollspan.decision": Attribute("string", "R")},
        (
            1e-5,
            2.5e-5,
            5e-5,
            1e-4,
            2.5e-4,
            5e-4,
            1e-3,
            2.5e-3,
            5e-3,
            1e-2,
            2.5e-2,
            5e-2,
            0.1,
            0.25,
            0.5,
            1.0,
        ),
    ),
    **{
        f"tollspan.budget.{what}": MetricType("gauge", "1", _OF_BUDGETS)
        for what in ("limit", "spent", "held", "unresolved", "remaining")
    },
    **{
        f"tollspan.budget.{what}": MetricType("gauge", "s", _OF_BUDGETS)
        for what in ("period", "resets_in")
    },
    "tollspan.warnings": MetricType(
        "sum",
        "{warning}",
        {
            "tollspan.rule.id": Attribute("string", "R"),
            "tollspan.warning.reason": Attribute("string", "R"),
        },
    ),
    "tollspan.lease.granted": MetricType("sum", "1", _OF_LEASES),
    "tollspan.lease.remaining": MetricType("gauge", "1", _OF_LEASES),
    "tollspan.lease.requests": MetricType("sum", "{request}", {}),
    "tollspan.lease.failures": MetricType("sum", "{request}", {}),
    "tollspan.lease.waits": MetricType("sum", "{call}", {}),
    "tollspan.lease.lost": MetricType("sum", "{lease}", {}),
    "tollspan.settling.events": MetricType("gauge", "{event}", {}),
    "tollspan.outbox.events": MetricType("gauge", "{event}", {}),
    "tollspan.outbox.age": MetricType("gauge", "s", {}),
    "tollspan.shipping.waiting": MetricType("gauge", "{event}", {}),
    "tollspan.shipping.age": MetricType("gauge", "s", {}),
    "tollspan.shipping.sent": MetricType("sum", "{event}", {}),
    "tollspan.shipping.rejected": MetricType("sum", "{event}", {}),
    "tollspan.shipping.failures": MetricType(
        "sum", "{request}", {"error.type": Attribute("string", "R")}
    ),
    "tollspan.internal.errors": MetricType(
        "sum",
        "{error}",
        {
            "tollspan.place": Attribute("string", "R"),
            "error.type": Attribute("string", "R"),
        },
    ),
}
DECISION_EVENT = {
    "tollspan.decision": Attribute("string", "R"),
    "tollspan.call.id": Attribute("string", "R"),
    "gen_ai.operation.name": Attribute("string", "R"),
    "gen_ai.provider.name": Attribute("string", "R"),
    "gen_ai.request.model": Attribute("string", "R"),
    "error.type": Attribute("string", "C"),
    "tollspan.rule.id": Attribute("string", "C"),
    "tollspan.budget.scope": Attribute("string", "C"),
    "tollspan.budget.limit": Attribute("int", "C"),
    "tollspan.budget.spent": Attribute("int", "C"),
    "tollspan.budget.held": Attribute("int", "C"),
    "tollspan.budget.asked": Attribute("int", "C"),
    "tollspan.budget.unit": Attribute("string", "C"),
}
WARNING_EVENT = {
    "tollspan.rule.id": Attribute("string", "R"),
    "tollspan.warning.reason": Attribute("string", "R"),
    "tollspan.warning.share": Attribute("double", "C"),
    "tollspan.warning.amount": Attribute("int", "C"),
    "tollspan.call.id": Attribute("string", "C"),
    "tollspan.budget.scope": Attribute("string", "C"),
    "tollspan.budget.limit": Attribute("int", "C"),
    "tollspan.budget.spent": Attribute("int", "C"),
    "tollspan.budget.held": Attribute("int", "C"),
    "tollspan.budget.unit": Attribute("string", "C"),
}
EVENTS = {"tollspan.decision": DECISION_EVENT, "tollspan.warning": WARNING_EVENT}
SEVERITIES = {"deny": "WARN", "warn": "WARN", "shadow": "INFO"}
