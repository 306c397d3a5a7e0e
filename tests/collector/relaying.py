"""What stands between senders and an ingest server: it holds some back, and keeps what passed."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable

import requests

from tests.balancing import Balancer
from tests.fakes.otlp_receiver import OtlpReceiver
from tests.fakes.wire import Connection, HttpRequest, head

EVENTS, TRACES = "/v1/events", "/v1/traces"
_SENT = ("authorization", "content-type", "content-encoding", "tollspan-tenant")


class Relay(Balancer):
    """Passes requests on to a server until it is closed; a context manager.

    Args:
        port: Where the server is.
        held: Paths whose senders are told to come again; may be changed at any time.
    """

    def __init__(self, port: int, held: Iterable[str] = ()) -> None:
        self.held = set(held)
        self._passed: list[HttpRequest] = []
        self._spans = OtlpReceiver()
        super().__init__(port)

    def close(self) -> None:
        """End it."""
        super().close()
        self._spans.close()

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Pass a request on, and keep it, unless it is held back."""
        if request.path in self.held:
            connection.write(head(503, {"retry-after": "1", "content-length": "0"}))
            connection.flush()
            return True
        is_answered = super().answer(connection, request)
        if is_answered and request.method == "POST" and request.path in (EVENTS, TRACES):
            with self._lock:
                self._passed.append(request)
        return is_answered

    def bodies(self, path: str) -> list[bytes]:
        """Return what was sent to a path, as it was packed."""
        with self._lock:
            return [one.body for one in self._passed if one.path == path]

    @property
    def spans(self) -> Counter[str]:
        """How many spans of each scope have passed."""
        kept = self._spans
        for body in self.bodies(TRACES)[len(kept.bodies) :]:
            kept.bodies.append(body)
            kept.take(gzip.decompress(body))
        return Counter(one.scope for one in kept.spans)

    def replay(self, path: str, times: int) -> list[requests.Response]:
        """Send what was sent to a path again, the last first; return the answers."""
        with self._lock:
            passed = [one for one in self._passed if one.path == path]
        return [
            requests.post(
                f"http://127.0.0.1:{self.ports[0]}{path}",
                data=one.body,
                headers={name: one.headers[name] for name in _SENT if name in one.headers},
                timeout=30,
            )
            for one in passed[::-1] * times
        ]
