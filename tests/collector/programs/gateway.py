"""A house's own gateway to OpenAI, with OpenTelemetry's instrumentor: `python gateway.py PORT`.

It hands on what it is asked, by the SDK, and tells of each call by a span of its own. There is no
tollspan in it.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class Gateway(BaseHTTPRequestHandler):
    """Answers chat completions, whole or as streams."""

    client: ClassVar[openai.OpenAI]

    def do_GET(self) -> None:
        """Say that it is there."""
        self._answer("application/json", b"{}")

    def do_POST(self) -> None:
        """Ask the provider what was asked here."""
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self.client.chat.completions.create(**asked)
        if not asked.get("stream"):
            self._answer("application/json", answer.model_dump_json().encode())
            return
        pieces = [f"data: {piece.model_dump_json()}\n\n" for piece in answer]
        self._answer("text/event-stream", "".join([*pieces, "data: [DONE]\n\n"]).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until told to end; send what is left of spans then."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    OpenAIInstrumentor().instrument()
    Gateway.client = openai.OpenAI(max_retries=0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Gateway).serve_forever()


if __name__ == "__main__":
    main()
