"""The fake provider's server: connections, routes, and the counts that tests read."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.fakes import protocol
from tests.fakes.books import PRICES, Books, Recorded
from tests.fakes.exchange import ENDPOINTS, JSON_TYPE, Exchange
from tests.fakes.replies import Reply, Script
from tests.fakes.tokens import Tokenizer, counter
from tests.fakes.wire import BACKLOG, HOST, ClientGoneError, Connection, HttpRequest

_JOIN_SECONDS = 5.0


class FakeOpenAI:
    """A provider on loopback that speaks OpenAI's protocol and counts every request and nano-USD.

    One daemon thread per connection. A context manager: leaving it closes every socket.
    Other processes read the counts at `GET /_fake/stats` and `GET /_fake/requests`, zero them with
    `POST /_fake/reset`, and change the script with `POST /_fake/script`.

    Args:
        default: The reply of every request that the script says nothing else about.
        prices: Pico-USD per token by model (input, cached input, output). A model that is not
            there is served, and counted in `unpriced_requests`.
        tokenizer: `bytes4` is one token per 4 bytes; `o200k` is the real one, and slow.
        port: 0 takes a free one.
        keep_requests: How many of the last requests are recorded.
    """

    def __init__(
        self,
        default: Reply | None = None,
        *,
        prices: Mapping[str, tuple[int, int, int]] = PRICES,
        tokenizer: Tokenizer = "bytes4",
        port: int = 0,
        keep_requests: int = 1000,
    ) -> None:
        self.script = Script(default)
        self._models = list(prices)
        self._books = Books(prices, keep_requests=keep_requests)
        self._count = counter(tokenizer)
        self._listener = socket.create_server((HOST, port), backlog=BACKLOG)
        self._port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._closing = False
        self._acceptor = threading.Thread(
            target=self._accept, name=f"fake-openai-{self._port}", daemon=True
        )
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket and wait for the threads; a second time does nothing."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port)):
            self._acceptor.join(_JOIN_SECONDS)
        self._listener.close()
        with self._lock:
            serving = dict(self._connections)
        for connection in serving:
            connection.interrupt()
        for thread in serving.values():
            thread.join(_JOIN_SECONDS)

    @property
    def base_url(self) -> str:
        """What an SDK takes as its base URL."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        """The server's address without `/v1`."""
        return f"http://{HOST}:{self._port}"

    @property
    def hits(self) -> int:
        """Requests that arrived at a billable path, refused ones too."""
        return self._stat("hits")

    @property
    def completed(self) -> int:
        """Requests whose answer was sent in full; a refusal is an answer."""
        return self._stat("completed")

    @property
    def disconnected(self) -> int:
        """Requests whose client went away before it had the whole answer."""
        return self._stat("disconnected")

    @property
    def in_flight(self) -> int:
        """Requests that arrived and are not yet answered."""
        return self._stat("in_flight")

    @property
    def max_in_flight(self) -> int:
        """The most requests that were in flight at one instant."""
        return self._stat("max_in_flight")

    @property
    def billed_nanousd(self) -> int:
        """The provider's bill until now, in nano-USD."""
        return self._stat("billed_nanousd")

    @property
    def requests(self) -> list[Recorded]:
        """The last requests, oldest first."""
        return self._books.requests()

    def stats(self) -> dict[str, int | dict[str, int]]:
        """Return all counts, of one instant (the same as `GET /_fake/stats`)."""
        return self._books.stats()

    def reset(self) -> None:
        """Set all counts to zero and empty the script's queue."""
        self._books.reset()
        self.script.clear()

    def wait_idle(self, timeout_seconds: float = 2.0) -> bool:
        """Wait until nothing is in flight (a client that leaves is noticed a little later)."""
        return self._books.wait_idle(timeout_seconds)

    def _stat(self, name: str) -> int:
        value = self._books.stats()[name]
        assert isinstance(value, int)
        return value

    def _accept(self) -> None:
        for number in itertools.count(1):
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            if self._closing:
                raw.close()
                return
            connection = Connection(raw)
            thread = threading.Thread(
                target=self._serve,
                args=(connection,),
                name=f"fake-openai-{self._port}-{number}",
                daemon=True,
            )
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            while (request := connection.read_request()) is not None:
                if not self._answer(connection, request):
                    return
                if request.headers.get("connection", "").lower() == "close":
                    return
        except OSError:
            return
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]

    def _answer(self, connection: Connection, request: HttpRequest) -> bool:
        if request.method == "POST" and request.path in ENDPOINTS:
            exchange = Exchange(
                books=self._books, script=self.script, count=self._count, connection=connection
            )
            return exchange.run(request)
        status, body = self._unbilled(request)
        headers = {"content-type": JSON_TYPE, "content-length": str(len(body))}
        connection.write(protocol.head(status, headers) + body)
        try:
            connection.flush()
        except ClientGoneError:
            return False
        return True

    def _unbilled(self, request: HttpRequest) -> tuple[int, bytes]:
        """Answer everything but the billable paths."""
        match request.method, request.path:
            case "GET", "/_fake/stats":
                return 200, json.dumps(self.stats()).encode()
            case "GET", "/_fake/requests":
                return 200, json.dumps(self._books.requests_json()).encode()
            case "POST", "/_fake/reset":
                self.reset()
                return 200, b"{}"
            case "POST", "/_fake/script":
                return self._load_script(request.body)
            case method, path:
                self._books.arrive_elsewhere()
                if (method, path) == ("GET", "/v1/models"):
                    return 200, protocol.models(self._models)
                message = f"Invalid URL ({method} {path})"
                error = protocol.error_body(404, message=message, code="unknown_url")
                return 404, json.dumps(error).encode()

    def _load_script(self, body: bytes) -> tuple[int, bytes]:
        try:
            self.script.load(json.loads(body))
        except ValueError as error:
            return 400, json.dumps(protocol.error_body(400, message=str(error))).encode()
        return 200, b"{}"
