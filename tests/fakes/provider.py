"""A fake provider's server: routes, and the counts that tests read, whatever its protocol."""

from __future__ import annotations

import json

from tests.fakes.books import Books, PriceTable, Recorded
from tests.fakes.dialect import Dialect
from tests.fakes.exchange import JSON_TYPE, Exchange
from tests.fakes.replies import Reply, Script
from tests.fakes.shell import LoopbackServer
from tests.fakes.tokens import Tokenizer, counter
from tests.fakes.wire import ClientGoneError, Connection, HttpRequest, head


class FakeProvider(LoopbackServer):
    """A provider on loopback that counts every request and nano-USD.

    One daemon thread per connection. A context manager: leaving it closes every socket.
    Other processes read the counts at `GET /_fake/stats` and `GET /_fake/requests`, zero them with
    `POST /_fake/reset`, and change the script with `POST /_fake/script`.

    Args:
        name: For its threads.
        dialect: Its protocol.
        default: The reply of every request that the script says nothing else about.
        prices: See `PriceTable`. A model that is not there is served, and counted in
            `unpriced_requests`.
        tokenizer: `bytes4` is one token per 4 bytes; `o200k` is a real one, and slow.
        port: 0 takes a free one.
        keep_requests: How many of the last requests are recorded.
    """

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        default: Reply | None,
        *,
        prices: PriceTable,
        tokenizer: Tokenizer,
        port: int,
        keep_requests: int,
    ) -> None:
        self.script = Script(default)
        self._dialect = dialect
        self._books = Books(prices, keep_requests=keep_requests)
        self._count = counter(tokenizer)
        super().__init__(name, port=port)

    @property
    def base_url(self) -> str:
        """What an SDK takes as its base URL."""
        return self.root_url

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

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer one request."""
        endpoint = self._dialect.route(request)
        if endpoint is not None:
            exchange = Exchange(
                dialect=self._dialect,
                books=self._books,
                script=self.script,
                count=self._count,
                connection=connection,
            )
            return exchange.run(request, endpoint)
        status, body = self._unbilled(request)
        headers = self._dialect.headers(self._dialect.new_request_id(), 1)
        headers |= {"content-type": JSON_TYPE, "content-length": str(len(body))}
        connection.write(head(status, headers) + body)
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
            case _:
                self._books.arrive_elsewhere()
                return self._dialect.unbilled(request)

    def _load_script(self, body: bytes) -> tuple[int, bytes]:
        try:
            self.script.load(json.loads(body))
        except ValueError as error:
            return 400, json.dumps({"error": {"message": str(error)}}).encode()
        return 200, b"{}"

    def _stat(self, name: str) -> int:
        value = self._books.stats()[name]
        assert isinstance(value, int)
        return value
