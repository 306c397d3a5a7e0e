"""How many spans a server takes for each second of its CPU time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import requests

from benchmarks.results import measured_with, now
from benchmarks.serving import cpu_seconds, make_key, server
from tests.unit.server.otlp.bodies import CHAT, protobuf_body, span

SPANS: Final = 102_400
QUICK_SPANS: Final = 2_048
_BATCH: Final = 512
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "speed-of-traces.md"
_PER_TRACE: Final = 4


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        calls_share: What part of the spans were calls to models.
        spans: How many were sent.
        seconds: From the first body until the last was answered.
        cpu_seconds: Of the server, in that time.
    """

    calls_share: float
    spans: int
    seconds: float
    cpu_seconds: float

    @property
    def each(self) -> float:
        """Spans for each second of the server's CPU time."""
        return self.spans / self.cpu_seconds


def run(spans: int = SPANS, *, is_quick: bool = False) -> None:
    """Measure, print, and write the page; when it is quick, only measure and print."""
    found = [measure(QUICK_SPANS if is_quick else spans, share) for share in (1.0, 0.2)]
    print("\n".join(_sentence(one) for one in found))
    if not is_quick:
        PAGE.write_text(_page(found))


def measure(spans: int, calls_share: float = 1.0) -> Load:
    """Send spans to a server in another process, over books in SQLite."""
    with tempfile.TemporaryDirectory(prefix="tollspan-") as folder:
        where = f"sqlite:{Path(folder) / 'server.db'}"
        secret = make_key(where)
        bodies = list(_bodies(spans, calls_share))
        with server(where) as (address, pid), requests.Session() as session:
            session.headers.update(
                {"Authorization": f"Bearer {secret}", "Content-Type": "application/x-protobuf"}
            )
            began, cpu_began = time.perf_counter(), cpu_seconds(pid)
            for body in bodies:
                answer = session.post(f"{address}/v1/traces", data=body, timeout=60)
                if (answer.status_code, answer.content) != (200, b""):
                    raise RuntimeError(f"{answer.status_code}: {answer.content[:200]!r}")
            seconds, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu_began
    return Load(calls_share=calls_share, spans=spans, seconds=seconds, cpu_seconds=cpu)


def _bodies(spans: int, calls_share: float) -> Iterator[bytes]:
    """Yield bodies of spans as large as usual ones: a kilobyte and more for a call."""
    draw = random.Random(1)
    started = time.time_ns() - 3_600 * 10**9
    for first in range(0, spans, _BATCH):
        yield protobuf_body(
            *[
                _span(number, started + number * 10**6, draw, is_call=draw.random() < calls_share)
                for number in range(first, min(first + _BATCH, spans))
            ]
        )


def _span(number: int, started: int, draw: random.Random, *, is_call: bool) -> dict[str, Any]:
    attributes: dict[str, object] = {"http.request.method": "POST", "url.full": "https://a.b/c"}
    if is_call:
        attributes = {
            **CHAT,
            "gen_ai.response.id": f"chatcmpl-{number:029x}",
            "gen_ai.request.max_tokens": 1_024,
            "gen_ai.usage.input_tokens": draw.randint(50, 4_000),
            "gen_ai.usage.output_tokens": draw.randint(5, 900),
            "openai.response.service_tier": "default",
            "server.address": "api.openai.com",
            "tollspan.customer.id": f"customer-{number % 97}",
            "session.id": f"session-{number % 1009}",
            "gen_ai.input.messages": "x" * 400,
            "gen_ai.output.messages": "y" * 400,
        }
    return span(
        number + 1,
        traceId=f"{number // _PER_TRACE + 1:032x}",
        startTimeUnixNano=str(started),
        endTimeUnixNano=str(started + 10**9),
        attributes=attributes,
    )


def _sentence(found: Load) -> str:
    return (
        f"{found.spans:,} spans, of which {found.calls_share:.0%} were calls to models: "
        f"{found.each:,.0f} for each second of CPU time, "
        f"{found.spans / found.seconds:,.0f} a second"
    )


def _page(found: list[Load]) -> str:
    lines = "\n".join(f"- {_sentence(one)}" for one in found)
    return f"""# Speed of traces

Written by `python -m benchmarks traces`; do not edit.

{measured_with(now())}

One process [sends](../how-to/send-traces.md) spans to `tollspan serve` in another, over HTTP on
loopback, in bodies of {_BATCH} spans in protobuf, one after the other; the books are in SQLite. A
call's span has {len(CHAT) + 6} attributes that are read and two messages that are not. Each call is
read, priced, looked for among all that is known, stored and summed. The CPU time is the server's,
of all its threads.

{lines}
"""
