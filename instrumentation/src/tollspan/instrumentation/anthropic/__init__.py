"""Anthropic: what is gated of its API, and who else wraps the methods that lead there."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from tollspan import semconv
from tollspan.instrumentation._stainless import ApiPath, Sdk

from ._batches import BATCH_JOBS, read_batch
from ._paths import billable_path
from .extract import MessagesShape

__all__ = ["ANTHROPIC"]

_MESSAGES = "anthropic.resources.messages.messages"
_BETA = "anthropic.resources.beta.messages.messages"
_OWN_CLIENTS = "anthropic._client"
_PLATFORMS = ("Bedrock", "Vertex", "Foundry", "GoogleCloud", "AWS")


def _stream_source(stream: Any) -> Any:
    """Return what gives the chunks: the SDK's own iterator, which feeds its span."""
    return iter(stream) if hasattr(stream, "__next__") else aiter(stream)


def _has_native_span(client: Any) -> bool:
    """Say whether the SDK (2.x) makes a span of its own, that somebody collects."""
    if getattr(client, "_tracer", None) is None:
        return False
    if "tracer_provider" in getattr(client, "open_telemetry", {}):
        return True
    provider = trace.get_tracer_provider()
    return not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)


def _left_out(client: object) -> str | None:
    """Name the clients of other platforms, whose requests look the same and cost something else."""
    kind = type(client)
    if kind.__module__ == _OWN_CLIENTS:
        return None
    for base in kind.__mro__:
        if any(platform in base.__name__ for platform in _PLATFORMS):
            return base.__name__
    return None


ANTHROPIC = Sdk(
    package="anthropic",
    provider=semconv.PROVIDER_ANTHROPIC,
    hosts={"api.anthropic.com": semconv.PROVIDER_ANTHROPIC},
    clients=("Anthropic", "AsyncAnthropic"),
    paths=(
        ApiPath(
            path="/v1/messages",
            shape=MessagesShape,
            methods=(
                "messages.create",
                "messages.stream",
                "messages.parse",
                "messages.tool_runner",
                "beta.messages.create",
                "beta.messages.stream",
                "beta.messages.parse",
                "beta.messages.tool_runner",
            ),
            owners=tuple(
                (module, owner, method)
                for module in (_MESSAGES, _BETA)
                for owner in ("Messages", "AsyncMessages")
                for method in ("create", "stream", "parse")
            ),
            turns="messages",
        ),
        ApiPath(
            path="/v1/messages/batches",
            shape=MessagesShape,
            methods=("messages.batches.create", "beta.messages.batches.create"),
            owners=(),
            batch=read_batch,
        ),
    ),
    jobs=BATCH_JOBS,
    billable=billable_path,
    stream_source=_stream_source,
    has_native_span=_has_native_span,
    left_out=_left_out,
)
"""Everything of the Anthropic SDK that the gate knows."""
