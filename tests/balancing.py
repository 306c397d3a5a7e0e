"""A load balancer on loopback: every request goes to the next replica that can be reached.

A request that was sent is never sent again here; whoever asked does that.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head

_TIMEOUT_SECONDS = 30.0
_BETWEEN_TWO = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
_PATH_OF_EVENTS = "/v1/events"


class Balancer(LoopbackServer):
    """Stands before servers until it is closed; a context manager.

    Attributes:
        ports: Where the servers are; may be changed at any time.
        when_sent: Is called once, when a batch of events was passed on and is not answered yet.
        when_answered: Is called once, when the answer to a batch is here, which is lost then.
    """

    def __init__(self, *ports: int) -> None:
        self.ports: Sequence[int] = ports
        self.when_sent: Callable[[], object] | None = None
        self.when_answered: Callable[[], object] | None = None
        self._turns = itertools.count()
        super().__init__("balancer")

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Pass a request on; where no server answers, the connection ends without an answer."""
        is_batch = request.method == "POST" and request.path == _PATH_OF_EVENTS
        upstream = self._reach()
        if upstream is None:
            return False
        with contextlib.closing(upstream):
            try:
                _pass_on(upstream, request)
                if is_batch and self._call_once("when_sent"):
                    return False
                response = upstream.getresponse()
                body = response.read()
            except (OSError, HTTPException):
                return False
        if is_batch and self._call_once("when_answered"):
            return False
        connection.write(head(response.status, _headers(response, len(body))) + body)
        connection.flush()
        return True

    def _reach(self) -> HTTPConnection | None:
        """Return a connection to the server whose turn it is, or to the next that takes one."""
        turn = next(self._turns)
        for number in range(len(self.ports)):
            port = self.ports[(turn + number) % len(self.ports)]
            upstream = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
            with contextlib.suppress(OSError):
                upstream.connect()
                return upstream
        return None

    def _call_once(self, name: str) -> bool:
        with self._lock:
            wanted = getattr(self, name)
            setattr(self, name, None)
        if wanted is None:
            return False
        wanted()
        return True


def _pass_on(upstream: HTTPConnection, request: HttpRequest) -> None:
    address = f"{request.path}?{request.query}" if request.query else request.path
    headers = {name: value for name, value in request.headers.items() if name not in _BETWEEN_TWO}
    upstream.request(request.method, address, body=request.body or None, headers=headers)


def _headers(response: HTTPResponse, length: int) -> dict[str, str]:
    kept = {
        name: value for name, value in response.getheaders() if name.lower() not in _BETWEEN_TWO
    }
    return {**kept, "content-length": str(length)}
