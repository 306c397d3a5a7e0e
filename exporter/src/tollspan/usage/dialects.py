"""Reads other people's spans: which are calls to a model, and what they say was used.

Each instrumentor has a dialect: its names, what its counts include, and what they leave out. Pure:
from a span's scope, name and attributes to our values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from tollspan.semconv import (
    ANTHROPIC_RESPONSE_SERVICE_TIER,
    ERROR_TYPE,
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_RESPONSE_FINISH_REASONS,
    GEN_AI_RESPONSE_ID,
    GEN_AI_RESPONSE_MODEL,
    OPENAI_RESPONSE_SERVICE_TIER,
    SERVER_ADDRESS,
    SERVER_PORT,
    foreign,
)

from .dialect_table import OURS, Dialect, dialect_of
from .dialect_usage import USAGE_ATTRIBUTES, count_of, usage_of
from .outcome import Response
from .usage import TOKEN_BUCKETS, Usage

_LEAVES = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_KINDS = {"LLM": "chat", "EMBEDDING": "embeddings"}
_REQUEST_TYPES = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
# Vercel's spans around these sum up what is in them.
_AI_SDK = {
    "ai.generateText.doGenerate": "chat",
    "ai.streamText.doStream": "chat",
    "ai.generateObject.doGenerate": "chat",
    "ai.streamObject.doStream": "chat",
    "ai.embed.doEmbed": "embeddings",
    "ai.embedMany.doEmbed": "embeddings",
}
_AI_SDK_STREAMS = frozenset({"ai.streamText.doStream", "ai.streamObject.doStream"})
_LANGFUSE = {"generation": "chat", "embedding": "embeddings"}
# What is named otherwise in older conventions and elsewhere → `gen_ai.provider.name`.
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "google_genai_ai": "gcp.gemini",
    "google.vertex.chat": "gcp.vertex_ai",
    "vertex": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "vertex_ai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "bedrock-converse": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "langchain": "",
    "spring_ai": "",
}
_PROVIDER_NAMES = (
    GEN_AI_PROVIDER_NAME,
    foreign.GEN_AI_SYSTEM,
    foreign.LLM_PROVIDER,
    foreign.LLM_SYSTEM,
    foreign.AI_MODEL_PROVIDER,
)
_MODEL_NAMES = (
    GEN_AI_REQUEST_MODEL,
    foreign.LLM_REQUEST_MODEL_NAME,
    foreign.LLM_MODEL_NAME,
    foreign.EMBEDDING_MODEL_NAME,
    foreign.AI_MODEL_ID,
    foreign.LANGFUSE_MODEL,
    GEN_AI_RESPONSE_MODEL,
)
_OPERATION_NAMES = (
    GEN_AI_OPERATION_NAME,
    foreign.OPENINFERENCE_SPAN_KIND,
    foreign.TRACELOOP_SPAN_KIND,
    foreign.LLM_REQUEST_TYPE,
    foreign.AI_OPERATION_ID,
    foreign.LANGFUSE_TYPE,
)
SPAN_ATTRIBUTES = frozenset(
    {
        *_OPERATION_NAMES,
        *_PROVIDER_NAMES,
        *_MODEL_NAMES,
        *USAGE_ATTRIBUTES,
        GEN_AI_REQUEST_STREAM,
        foreign.GEN_AI_IS_STREAMING,
        SERVER_ADDRESS,
        SERVER_PORT,
        GEN_AI_REQUEST_MAX_TOKENS,
        GEN_AI_RESPONSE_ID,
        foreign.AI_RESPONSE_ID,
        foreign.AI_RESPONSE_MODEL,
        GEN_AI_RESPONSE_FINISH_REASONS,
        foreign.LLM_FINISH_REASON,
        OPENAI_RESPONSE_SERVICE_TIER,
        ANTHROPIC_RESPONSE_SERVICE_TIER,
        ERROR_TYPE,
    }
)
"""Every attribute of a span that is read here."""
CALL_MARKS = tuple(
    name.encode() for name in _OPERATION_NAMES if name != foreign.TRACELOOP_SPAN_KIND
)
"""A span that names none of these attributes is no call to a model."""
# Where a span tells a model and no provider: whose models are named so.
_FAMILIES = (
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("text-embedding-", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gcp.gemini"),
    ("mistral-", "mistral_ai"),
    ("deepseek-", "deepseek"),
    ("grok-", "x_ai"),
)


class ForeignSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A call to a model as somebody else's span tells it.

    Attributes:
        dialect: Whose span it is.
        operation, provider, model: As in `Request`; `""` where it does not say.
        host, port: Where it went; `""` and None where it does not say.
        max_output_tokens: The caller's own limit, if it is told.
        is_stream: It says that the answer is streamed.
        usage: What was used; None where it does not say.
        response: What the answer says of itself.
        error_type: How it failed; None when it did not.
    """

    dialect: Dialect
    operation: str
    provider: str = ""
    model: str = ""
    host: str = ""
    port: int | None = None
    max_output_tokens: int | None = None
    is_stream: bool = False
    usage: Usage | None = None
    response: Response = Response()
    error_type: str | None = None

    @property
    def richness(self) -> int:
        """How much it tells of what was used: of two spans of one call, the richer one counts."""
        return richness_of(self.usage)


def richness_of(usage: Usage | None) -> int:
    """Return how much is told of what was used: more for every bucket, and most for no estimate."""
    if usage is None or usage.status == "unknown":
        return 0
    filled = sum([1 for name in TOKEN_BUCKETS if getattr(usage, name)])
    return 1 + filled + (len(TOKEN_BUCKETS) if usage.status == "reported" else 0)


def read_span(
    scope: str, attributes: Mapping[str, object], version: str = "", *, with_ours: bool = False
) -> ForeignSpan | None:
    """Read a span that somebody else made; None when it is no single call to a model.

    Agents, workflows, chains and tools are none: what they sum up is in their calls.

    Args:
        scope: Name of the span's instrumentation scope.
        attributes: Those that it has by now: a few at its start, all at its end.
        version: The scope's version; `""` where nobody says it.
        with_ours: Read our own spans too, which are left out where our own hooks account for them.
    """
    operation = _operation(attributes)
    if operation is None or (scope == OURS and not with_ours):
        return None
    dialect = dialect_of(scope, version)
    get = attributes.get
    is_stream = (
        get(GEN_AI_REQUEST_STREAM) is True
        or get(foreign.GEN_AI_IS_STREAMING) is True
        or get(foreign.AI_OPERATION_ID) in _AI_SDK_STREAMS
    )
    host, port = get(SERVER_ADDRESS), get(SERVER_PORT)
    provider = _provider(dialect, attributes)
    return ForeignSpan(
        dialect=dialect,
        operation=operation,
        provider=provider,
        model=_model(attributes),
        host=host if isinstance(host, str) else "",
        port=port if type(port) is int and 0 < port < 65536 else None,
        max_output_tokens=count_of(get(GEN_AI_REQUEST_MAX_TOKENS)),
        is_stream=is_stream,
        usage=usage_of(dialect, attributes, provider=provider, is_stream=is_stream),
        response=_response(attributes),
        error_type=_text(get(ERROR_TYPE)),
    )


def assumed_provider(model: str) -> str:
    """Return whose models are named so; `""` where nobody is known to."""
    name = model.lower()
    return next((owner for family, owner in _FAMILIES if name.startswith(family)), "")


def _response(attributes: Mapping[str, object]) -> Response:
    get = attributes.get
    return Response(
        id=_text(get(GEN_AI_RESPONSE_ID) or get(foreign.AI_RESPONSE_ID)),
        model=_text(
            get(GEN_AI_RESPONSE_MODEL)
            or get(foreign.LLM_MODEL_NAME)
            or get(foreign.AI_RESPONSE_MODEL)
        ),
        finish_reasons=_texts(
            get(GEN_AI_RESPONSE_FINISH_REASONS) or get(foreign.LLM_FINISH_REASON)
        ),
        service_tier=_text(
            get(OPENAI_RESPONSE_SERVICE_TIER) or get(ANTHROPIC_RESPONSE_SERVICE_TIER)
        ),
    )


def _operation(attributes: Mapping[str, object]) -> str | None:
    """Return the operation of a single call to a model; None for everything else."""
    said = attributes.get(GEN_AI_OPERATION_NAME)
    if said is not None:
        return str(said) if said in _LEAVES else None
    kind = attributes.get(foreign.OPENINFERENCE_SPAN_KIND)
    if kind is not None:
        return _KINDS.get(str(kind))
    if attributes.get(foreign.TRACELOOP_SPAN_KIND) is not None:
        return None
    said = attributes.get(foreign.LLM_REQUEST_TYPE)
    if said is not None:
        return _REQUEST_TYPES.get(str(said))
    said = attributes.get(foreign.AI_OPERATION_ID)
    if said is not None:
        return _AI_SDK.get(str(said))
    return _LANGFUSE.get(str(attributes.get(foreign.LANGFUSE_TYPE)))


def _provider(dialect: Dialect, attributes: Mapping[str, object]) -> str:
    for name in _PROVIDER_NAMES:
        said = attributes.get(name)
        if isinstance(said, str) and said:
            lower = said.lower()
            if dialect.names_methods and lower not in _PROVIDERS:
                lower = lower.partition(".")[0]
            return _PROVIDERS.get(lower, lower)
    return ""


def _model(attributes: Mapping[str, object]) -> str:
    for name in _MODEL_NAMES:
        said = attributes.get(name)
        if isinstance(said, str) and said:
            return said
    return ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, list | tuple):
        items = cast("tuple[object, ...]", value)
        return tuple(each for each in items if isinstance(each, str))
    return ()
