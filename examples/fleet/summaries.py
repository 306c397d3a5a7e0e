"""A service that sums up texts, with Anthropic: `python summaries.py PORT`.

POST / takes a text and returns its summary. Its settings are those that the SDK reads by itself:
ANTHROPIC_API_KEY, and ANTHROPIC_BASE_URL where the provider is elsewhere.
"""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from anthropic import Anthropic
from opentelemetry import trace

client = Anthropic()
tracer = trace.get_tracer("summaries")


def summary_of(text: str) -> str:
    """Have a text summed up, piece by piece."""
    with client.messages.stream(
        model="claude-haiku-4-5",
        max_tokens=300,
        system="Sum up in one sentence.",
        messages=[{"role": "user", "content": text}],
    ) as stream:
        return "".join(stream.text_stream)


class Summaries(BaseHTTPRequestHandler):
    """Answers requests."""

    def do_GET(self) -> None:
        """Say that the service is there."""
        self._answer(200, "ok")

    def do_POST(self) -> None:
        """Sum up a text; 503 where the model can't be asked."""
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        with tracer.start_as_current_span("POST /", kind=trace.SpanKind.SERVER) as span:
            try:
                self._answer(200, summary_of(text))
            except Exception as error:
                span.record_exception(error)
                self._answer(503, f"{type(error).__name__}: {error}")

    def log_message(self, *_: object) -> None:
        """Keep no log of requests: there are traces."""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Summaries).serve_forever()
