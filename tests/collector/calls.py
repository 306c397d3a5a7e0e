"""Spans of calls as instrumentors of the newest conventions make them, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

SCOPE = "opentelemetry.instrumentation.genai.openai"
MODEL = "gpt-4o-mini-2024-07-18"
TOKENS = (1_000, 100)
# 0.15 and 0.60 USD for a million tokens.
COST_NANOUSD = 1_000 * 150 + 100 * 600
PROMPT = "what nobody but the two of them may read"
SECRET = "sk-proj-0123456789abcdefghij"


def call(
    provider: TracerProvider,
    number: int,
    more: Mapping[str, AttributeValue] = {},
    *,
    around: TracerProvider | None = None,
) -> None:
    """Make the span of one call, inside of a span that tells of none.

    Args:
        provider: Whose span that of the call is.
        number: Of the call; the id of its answer follows from it.
        more: Attributes besides.
        around: Whose span that around it is; the same one's by default.
    """
    tracer = provider.get_tracer(SCOPE, "1.3b0")
    with (around or provider).get_tracer("app").start_as_current_span("GET /ask"):
        said: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": MODEL,
            "gen_ai.response.id": f"chatcmpl-{number}",
            "gen_ai.usage.input_tokens": TOKENS[0],
            "gen_ai.usage.output_tokens": TOKENS[1],
            "tollspan.customer.id": f"c{number % 3}",
            **more,
        }
        with tracer.start_as_current_span("chat gpt-4o-mini", kind=SpanKind.CLIENT) as span:
            span.set_attributes(said)
