"""Keeps spans of calls to models recorded where sampling drops them: they are not exported.

A span that is dropped reaches no processor, and its call no budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from tollspan import semconv
from tollspan.semconv import foreign

from ._processor import BudgetSpanProcessor

_TELLING = frozenset(
    {
        semconv.GEN_AI_OPERATION_NAME,
        foreign.OPENINFERENCE_SPAN_KIND,
        foreign.LLM_REQUEST_TYPE,
        foreign.LLM_SYSTEM,
        foreign.LLM_PROVIDER,
    }
)


class KeepingSampler(Sampler):
    """Records what another sampler drops, if it tells of a call to a model. Nothing more is sent.

    It stands around the whole of the other one: within a `ParentBased` it would never be asked for
    the children of what is not sampled.

    Args:
        inner: The sampler that decides what is exported.
    """

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner
        self._inner_should_sample = inner.should_sample

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Do as the other sampler says, but record what it drops and we need."""
        result = self._inner_should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if result.decision is not Decision.DROP or not attributes or not _tells(attributes):
            return result
        # A sampler that drops forgets the attributes: what is recorded has them.
        return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        """Name both."""
        return f"TollspanKeeping{{{self.inner.get_description()}}}"


def attach(provider: TracerProvider, processor: BudgetSpanProcessor) -> bool:
    """Put a processor and a keeping sampler into a provider; False when they are there already."""
    if isinstance(provider.sampler, KeepingSampler):
        return False
    keeping = KeepingSampler(provider.sampler)
    provider.sampler = keeping
    # Tracers that were made before have the sampler of then.
    tracers = cast("dict[object, Any]", getattr(provider, "_tracers", {}))
    for tracer in list(tracers.values()):
        if getattr(tracer, "sampler", None) is keeping.inner:
            tracer.sampler = keeping
    provider.add_span_processor(processor)
    return True


def _tells(attributes: Mapping[str, object]) -> bool:
    """Say whether a span tells of a call to a model, and is none of ours."""
    return not _TELLING.isdisjoint(attributes) and semconv.TOLLSPAN_CALL_ID not in attributes
