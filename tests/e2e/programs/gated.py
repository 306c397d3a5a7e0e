"""A program that makes chat completions, and says how each went: `python gated.py STEP...`.

A step is done in its turn: `calls:8` makes 8 calls (sync, streamed, async, streamed async, and
again), `tollspan` installs tollspan, a name of `FOREIGN` instruments, a name of `PROVIDERS` sets
the tracer provider. The last line that it prints is JSON: the calls' outcomes and the spans.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

MODEL = "gpt-4o-mini"
PROMPT = "a prompt that nobody else may see"
MAX_TOKENS = 100
HANG_SECONDS = 4
KINDS = ("sync", "stream", "async", "async stream")
FOREIGN = {
    "official": "opentelemetry.instrumentation.genai.openai",
    "openllmetry": "opentelemetry.instrumentation.openai",
    "openinference": "openinference.instrumentation.openai",
}

AUTO = "opentelemetry.instrumentation.auto_instrumentation"

memory = InMemorySpanExporter()
outcomes: list[tuple[str, str]] = []
suppressed = ExitStack()
originals: dict[str, object] = {}


class RaisingExporter(SpanExporter):
    """Breaks at every batch."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("this exporter is broken")


class HangingExporter(SpanExporter):
    """Never comes back while calls are made."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        time.sleep(HANG_SECONDS)
        return SpanExportResult.FAILURE


class RaisingProcessor(SpanProcessor):
    """Raises where a processor must not."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        raise RuntimeError("this processor raises in on_start")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("this processor raises in on_end")


class RaisingAtTheEnd(RaisingProcessor):
    """Raises only when a span ends."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        return None


PROVIDERS = {
    "provider": lambda: SimpleSpanProcessor(memory),
    "raising-exporter": lambda: SimpleSpanProcessor(RaisingExporter()),
    "hanging-exporter": lambda: BatchSpanProcessor(HangingExporter(), schedule_delay_millis=10),
    "raising-on-start": RaisingProcessor,
    "raising-on-end": RaisingAtTheEnd,
}


def arguments() -> dict[str, Any]:
    """What every call asks."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": MAX_TOKENS,
    }


def call(kind: str) -> None:
    """Make one call to its end."""
    import openai

    if kind.startswith("async"):
        asyncio.run(call_async(kind))
        return
    with openai.OpenAI(max_retries=0) as client:
        if kind == "sync":
            client.chat.completions.create(**arguments())
        else:
            with client.chat.completions.create(stream=True, **arguments()) as stream:
                assert all(chunk.choices for chunk in stream)


async def call_async(kind: str) -> None:
    """Make one asynchronous call to its end."""
    import openai

    async with openai.AsyncOpenAI(max_retries=0) as client:
        if kind == "async":
            await client.chat.completions.create(**arguments())
        else:
            async with await client.chat.completions.create(stream=True, **arguments()) as stream:
                assert [chunk.choices async for chunk in stream]


def make_calls(number: int) -> None:
    """Make calls of every kind in turn; a denial is an outcome, anything else is a bug."""
    from tollspan.api import CallDeniedError

    for _ in range(number):
        kind = KINDS[len(outcomes) % len(KINDS)]
        before = get_current()
        try:
            call(kind)
        except CallDeniedError as denial:
            outcomes.append((kind, type(denial).__name__))
        except import_module("openai").APIConnectionError as error:
            outcomes.append((kind, type(error).__name__))
        else:
            outcomes.append((kind, "ok"))
        assert get_current() == before, "a call left its context behind"


def do(step: str) -> None:
    """Do one step."""
    if step.startswith("calls:"):
        make_calls(int(step.removeprefix("calls:")))
    elif step == "tollspan":
        import_module("tollspan.api").install()
    elif step == "uninstall":
        import_module("tollspan.api").uninstall()
    elif step == "suppress":
        suppressed.enter_context(suppress_instrumentation())
    elif step == "keep":
        originals.update(functions())
    elif step == "same":
        assert all(found is originals[name] for name, found in functions().items())
    elif step in FOREIGN:
        import_module(FOREIGN[step]).OpenAIInstrumentor().instrument(skip_dep_check=True)
    else:
        provider = TracerProvider()
        provider.add_span_processor(PROVIDERS[step]())
        trace.set_tracer_provider(provider)


def functions() -> dict[str, object]:
    """Return what instrumentors replace, as it stands in the classes."""
    import_module("openai")
    funnel = ("request", "_sleep_for_retry", "_retry_request")
    sdk = import_module("tollspan.instrumentation.openai").OPENAI
    clients = [("openai._base_client", name) for name in ("SyncAPIClient", "AsyncAPIClient")]
    clients += [("openai", name) for name in sdk.clients]
    wrapped = [(*client, name) for client in clients for name in funnel]
    wrapped += [owner for path in sdk.paths for owner in path.owners]
    return {
        f"{owner}.{name}": vars(getattr(import_module(module), owner))[name]
        for module, owner, name in wrapped
        if name in vars(getattr(import_module(module), owner))
    }


def hooks() -> int:
    """Return how many wrappers of ours are around the SDK's funnel, one over the other."""
    import openai

    found = 0
    layer: Any = openai._base_client.SyncAPIClient.__dict__["request"]
    while layer is not None:
        wrapper = getattr(layer, "_self_wrapper", None)
        found += getattr(wrapper, "__module__", "").startswith("tollspan.")
        layer = getattr(layer, "__wrapped__", None)
    return found


def described(span: ReadableSpan) -> dict[str, object]:
    """Return what tests look at in a span."""
    scope = span.instrumentation_scope
    return {
        "scope": scope.name if scope else None,
        "name": span.name,
        "is_error": not span.status.is_ok and not span.status.is_unset,
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "attributes": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in (span.attributes or {}).items()
        },
    }


def main() -> None:
    """Do the steps."""
    started = time.monotonic()
    for step in sys.argv[1:]:
        do(step)
    suppressed.close()
    report = {
        "outcomes": outcomes,
        "spans": [described(span) for span in memory.get_finished_spans()],
        "seconds": time.monotonic() - started,
        "is_auto_instrumented": AUTO in sys.modules,
        "hooks": hooks(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
