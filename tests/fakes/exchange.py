"""One request at a billable path: from its arrival, through the scripted reply, to its bill."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tests.fakes.books import Books, Charge
from tests.fakes.dialect import Answer, Dialect, Endpoint, Events, RefusedError, SseEvent
from tests.fakes.forms import is_form, read_form
from tests.fakes.generation import Generation
from tests.fakes.replies import Reply, Script
from tests.fakes.tokens import Count
from tests.fakes.values import mapping
from tests.fakes.wire import ChunkedBody, ClientGoneError, Connection, HttpRequest, head

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"
STALL_SECONDS = 3600.0


class Exchange:
    """Answers one request and closes its account, whatever happens on the way."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        books: Books,
        script: Script,
        count: Count,
        connection: Connection,
    ) -> None:
        self._dialect = dialect
        self._books = books
        self._script = script
        self._count = count
        self._connection = connection
        self._request_id = dialect.new_request_id()
        self._answer = Answer(charges=())
        self._reply = Reply()
        self._pieces_sent = 0
        self._is_refused = True
        self._is_closed = False

    def run(self, http: HttpRequest, endpoint: Endpoint) -> bool:
        """Answer a request; False when the connection is of no more use."""
        request, problem = _parse(http)
        self._started = time.perf_counter()
        self._record = self._books.arrive(http.path, http.headers, request, query=http.query)
        try:
            if problem is None:
                problem = self._prepare(http, endpoint, request)
            if problem is not None:
                self._reply = Reply()
                return self._send_error(problem)
            return self._deliver()
        except ClientGoneError:
            self._settle(is_completed=False)
            self._books.client_left(self._record)
            return False
        finally:
            self._settle(is_completed=False)

    def _prepare(
        self, http: HttpRequest, endpoint: Endpoint, request: object
    ) -> RefusedError | None:
        try:
            self._dialect.authenticate(http.headers)
            if not isinstance(request, dict):
                return RefusedError("The body of a request is a JSON object.")
            self._reply = self._script.next_reply(request, http.headers, self._record.hit_number)
            self._answer = endpoint(mapping(request), self._reply, self._count)
        except RefusedError as problem:
            return problem
        except ValueError as error:
            return RefusedError(f"fake: {error}")
        self._is_refused = self._reply.is_error
        return None

    def _deliver(self) -> bool:
        reply = self._reply
        if reply.latency_seconds:
            self._connection.wait(reply.latency_seconds)
        if reply.drop == "before_headers":
            return self._drop()
        if reply.is_error:
            problem = RefusedError(
                reply.error_message,
                status=reply.status,
                code=reply.error_code,
                kind=reply.error_type,
            )
            return self._send_error(problem)
        if self._answer.events is not None and self._answer.generation is not None:
            return self._stream(self._answer.generation, self._answer.events)
        return self._send_body(200, self._answer.body, self._dialect.limit_headers())

    def _send_error(self, problem: RefusedError) -> bool:
        body = json.dumps(self._dialect.error_body(problem, self._request_id)).encode()
        return self._send_body(problem.status, body, _retry_headers(self._reply))

    def _send_body(self, status: int, body: bytes, extra: Mapping[str, str]) -> bool:
        reply = self._reply
        if reply.malformed_json:
            body = body[: len(body) // 2]
        headers = {"content-type": JSON_TYPE, **extra}
        if reply.gzip:
            body = gzip.compress(body, mtime=0)
            headers["content-encoding"] = "gzip"
        if reply.chunked:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(len(body))
        self._send_head(status, headers)
        if reply.drop == "after_headers":
            return self._drop()
        self._write_body(body if reply.drop is None else body[: len(body) // 2])
        if reply.drop is not None:
            return self._drop()
        self._settle(is_completed=True)
        self._connection.flush()
        return True

    def _write_body(self, body: bytes) -> None:
        """Keep a body, or the part that is sent of it, for the next flush."""
        if not self._reply.chunked:
            self._connection.write(body)
            return
        chunks = ChunkedBody(self._connection, split_bytes=self._reply.split_bytes)
        chunks.write(body)
        if self._reply.drop is None:
            chunks.end()

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        elapsed_ms = max(1, round((time.perf_counter() - self._started) * 1000))
        usual = self._dialect.headers(self._request_id, elapsed_ms)
        self._record.status = status
        self._connection.write(head(status, {**usual, **headers}))

    def _stream(self, generation: Generation, events: Events) -> bool:
        reply, connection = self._reply, self._connection
        headers = {
            "content-type": STREAM_TYPE,
            "transfer-encoding": "chunked",
            **self._dialect.limit_headers(),
        }
        if reply.gzip:
            headers["content-encoding"] = "gzip"
        self._send_head(200, headers)
        if reply.drop == "after_headers":
            return self._drop()
        if reply.first_chunk_delay_seconds:
            connection.wait(reply.first_chunk_delay_seconds)
        body = ChunkedBody(connection, gzip=reply.gzip, split_bytes=reply.split_bytes)
        opening = list(events.opening())
        self._emit(body, opening, is_malformed=reply.malformed_json)
        stop = _stop_after(reply)
        for index, piece in enumerate(generation.pieces[:stop]):
            if index and reply.chunk_delay_seconds:
                connection.wait(reply.chunk_delay_seconds)
            is_first = not opening and index == 0
            self._emit(body, events.piece(piece), is_malformed=is_first and reply.malformed_json)
            self._pieces_sent = index + 1
        if stop is not None:
            return self._stop(body, events)
        self._emit(body, events.closing())
        body.end()
        self._settle(is_completed=True)
        connection.flush()
        return True

    def _stop(self, body: ChunkedBody, events: Events) -> bool:
        """End a stream before its end, in the scripted way."""
        if self._reply.drop is not None:
            return self._drop()
        if self._reply.stall_after_chunks is not None:
            self._connection.wait(STALL_SECONDS)
            return False
        if self._reply.end_after_chunks is None:
            self._emit(body, events.failure(self._reply))
        body.end()
        self._settle(is_completed=False)
        self._connection.flush()
        return True

    def _emit(
        self, body: ChunkedBody, events: Iterable[SseEvent], *, is_malformed: bool = False
    ) -> None:
        for event in events:
            data = event.data[: len(event.data) // 2] if is_malformed else event.data
            comment = ": keep-alive\n\n" if self._reply.sse_comments else ""
            name = f"event: {event.name}\n" if event.name is not None else ""
            body.write(f"{comment}{name}data: {data}\n\n".encode())
            is_malformed = False

    def _drop(self) -> bool:
        self._connection.flush()
        self._settle(is_completed=False)
        self._connection.close(self._reply.close_with)
        return False

    def _settle(self, *, is_completed: bool) -> None:
        """Bill what was generated until now; only the first time counts."""
        if self._is_closed:
            return
        self._is_closed = True
        billing = self._reply.billing
        is_billed = billing == "everything" or (billing != "nothing" and not self._is_refused)
        has_charges = is_billed or not self._is_refused
        charges = self._charges() if has_charges else ()
        self._books.close(self._record, charges, is_billed=is_billed, is_completed=is_completed)

    def _charges(self) -> tuple[Charge, ...]:
        answer = self._answer
        if answer.events is None or answer.generation is None or not answer.charges:
            return answer.charges
        if self._reply.billing == "everything":
            return answer.charges
        own, *others = answer.charges
        output_tokens = answer.generation.output_tokens_after(self._pieces_sent)
        consumed = replace(own.consumed, output_tokens=output_tokens)
        return (own._replace(consumed=consumed), *others)


def _stop_after(reply: Reply) -> int | None:
    """Return how many pieces a stream sends before it breaks; None for a whole one."""
    if reply.drop is not None:
        return reply.after_chunks
    if reply.stall_after_chunks is not None:
        return reply.stall_after_chunks
    if reply.end_after_chunks is not None:
        return reply.end_after_chunks
    return reply.error_in_stream


def _retry_headers(reply: Reply) -> dict[str, str]:
    """Return the headers of an error that steer the SDKs' retries."""
    headers: dict[str, str] = {}
    if reply.retry_after_seconds is not None:
        headers["retry-after-ms"] = str(round(reply.retry_after_seconds * 1000))
        headers["retry-after"] = str(max(1, round(reply.retry_after_seconds)))
    if reply.should_retry is not None:
        headers["x-should-retry"] = str(reply.should_retry).lower()
    return headers


def _parse(http: HttpRequest) -> tuple[object, RefusedError | None]:
    """Return a request's JSON or form (None if it has none), and why it must be refused."""
    if is_form(http):
        return {name: content.decode("latin-1") for name, content in read_form(http).items()}, None
    try:
        return json.loads(http.body), None
    except ValueError:
        return None, RefusedError("We could not parse the JSON body of your request.")
