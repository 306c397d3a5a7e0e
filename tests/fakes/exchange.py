"""One request at a billable path: from its arrival, through the scripted reply, to its bill."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.fakes import generation as model
from tests.fakes import protocol, tokens
from tests.fakes.books import Books
from tests.fakes.generation import Generation
from tests.fakes.protocol import BadRequestError
from tests.fakes.replies import Reply, Script
from tests.fakes.values import mapping
from tests.fakes.wire import ChunkedBody, ClientGoneError, Connection, HttpRequest

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"
STALL_SECONDS = 3600.0
_LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "199978",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "6ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request gets if nothing breaks, and what it consumes then."""

    model: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    body: bytes = b""
    generation: Generation | None = None
    events: protocol.ChatEvents | None = None


Endpoint = Callable[[Mapping[str, object], Reply, tokens.Count], Answer]


class Exchange:
    """Answers one request and closes its account, whatever happens on the way."""

    def __init__(
        self, *, books: Books, script: Script, count: tokens.Count, connection: Connection
    ) -> None:
        self._books = books
        self._script = script
        self._count = count
        self._connection = connection
        self._answer = Answer(model="")
        self._reply = Reply()
        self._pieces_sent = 0
        self._is_refused = True
        self._is_closed = False

    def run(self, http: HttpRequest) -> bool:
        """Answer a request; False when the connection is of no more use."""
        request, problem = _parse(http)
        self._started = time.perf_counter()
        self._record = self._books.arrive(http.path, http.headers, request)
        try:
            if problem is None:
                problem = self._prepare(http, request)
            if problem is not None:
                return self._refuse(problem)
            return self._deliver()
        except ClientGoneError:
            self._settle(is_completed=False)
            self._books.client_left(self._record)
            return False
        finally:
            self._settle(is_completed=False)

    def _prepare(self, http: HttpRequest, request: object) -> BadRequestError | None:
        fields = mapping(request)
        try:
            self._reply = self._script.next_reply(request, http.headers, self._record.hit_number)
            self._answer = ENDPOINTS[http.path](fields, self._reply, self._count)
        except BadRequestError as problem:
            return problem
        except ValueError as error:
            return BadRequestError(f"fake: {error}")
        self._is_refused = self._reply.is_error
        return None

    def _deliver(self) -> bool:
        reply = self._reply
        if reply.latency_seconds:
            self._connection.wait(reply.latency_seconds)
        if reply.drop == "before_headers":
            return self._drop()
        if reply.is_error:
            body = protocol.error_body(
                reply.status, message=reply.error_message, code=reply.error_code
            )
            headers = protocol.retry_headers(reply)
            return self._send_body(reply.status, json.dumps(body).encode(), headers)
        if self._answer.events is not None and self._answer.generation is not None:
            return self._stream(self._answer.generation, self._answer.events)
        return self._send_body(200, self._answer.body, _LIMIT_HEADERS)

    def _refuse(self, problem: BadRequestError) -> bool:
        body = protocol.error_body(
            problem.status, message=problem.message, code=problem.code, param=problem.param
        )
        self._reply = Reply()
        return self._send_body(problem.status, json.dumps(body).encode(), {})

    def _send_body(self, status: int, body: bytes, extra: Mapping[str, str]) -> bool:
        reply = self._reply
        if reply.malformed_json:
            body = body[: len(body) // 2]
        headers = {"content-type": JSON_TYPE, **extra}
        if reply.gzip:
            body = gzip.compress(body, mtime=0)
            headers["content-encoding"] = "gzip"
        headers["content-length"] = str(len(body))
        self._send_head(status, headers)
        if reply.drop == "after_headers":
            return self._drop()
        if reply.drop is not None:
            self._connection.write(body[: len(body) // 2])
            return self._drop()
        self._connection.write(body)
        self._settle(is_completed=True)
        self._connection.flush()
        return True

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        elapsed_ms = round((time.perf_counter() - self._started) * 1000)
        timing = {"openai-processing-ms": str(max(1, elapsed_ms))}
        self._record.status = status
        self._connection.write(protocol.head(status, {**timing, **headers}))

    def _stream(self, generation: Generation, events: protocol.ChatEvents) -> bool:
        reply, connection = self._reply, self._connection
        headers = {"content-type": STREAM_TYPE, "transfer-encoding": "chunked", **_LIMIT_HEADERS}
        if reply.gzip:
            headers["content-encoding"] = "gzip"
        self._send_head(200, headers)
        if reply.drop == "after_headers":
            return self._drop()
        if reply.first_chunk_delay_seconds:
            connection.wait(reply.first_chunk_delay_seconds)
        body = ChunkedBody(connection, gzip=reply.gzip, split_bytes=reply.split_bytes)
        self._emit(body, events.opening(), is_malformed=reply.malformed_json)
        stop = _stop_after(reply)
        for index, piece in enumerate(generation.pieces[:stop]):
            if index and reply.chunk_delay_seconds:
                connection.wait(reply.chunk_delay_seconds)
            self._emit(body, events.piece(piece))
            self._pieces_sent = index + 1
        if stop is not None:
            return self._stop(body)
        self._emit(body, events.closing())
        body.write(b"data: [DONE]\n\n")
        body.end()
        self._settle(is_completed=True)
        connection.flush()
        return True

    def _stop(self, body: ChunkedBody) -> bool:
        """End a stream before its end, in the scripted way."""
        if self._reply.drop is not None:
            return self._drop()
        if self._reply.stall_after_chunks is not None:
            self._connection.wait(STALL_SECONDS)
            return False
        error = protocol.error_body(
            500, message=self._reply.error_message, code=self._reply.error_code
        )
        self._emit(body, [json.dumps(error)])
        body.end()
        self._settle(is_completed=False)
        self._connection.flush()
        return True

    def _emit(
        self, body: ChunkedBody, events: Iterable[str], *, is_malformed: bool = False
    ) -> None:
        for event in events:
            text = event[: len(event) // 2] if is_malformed else event
            comment = ": keep-alive\n\n" if self._reply.sse_comments else ""
            body.write(f"{comment}data: {text}\n\n".encode())

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
        answer, billing = self._answer, self._reply.billing
        output_tokens = answer.output_tokens
        if answer.generation is not None and answer.events is not None and billing != "everything":
            output_tokens = answer.generation.output_tokens_after(self._pieces_sent)
        is_billed = billing == "everything" or (billing != "nothing" and not self._is_refused)
        if not self._is_refused or is_billed:
            self._books.generated(
                self._record,
                prompt_tokens=answer.prompt_tokens,
                cached_tokens=answer.cached_tokens,
                output_tokens=output_tokens,
            )
        self._books.close(
            self._record, answer.model, is_billed=is_billed, is_completed=is_completed
        )


def _stop_after(reply: Reply) -> int | None:
    """Return how many pieces a stream sends before it breaks; None for a whole one."""
    if reply.drop is not None:
        return reply.after_chunks
    if reply.stall_after_chunks is not None:
        return reply.stall_after_chunks
    return reply.error_in_stream


def _parse(http: HttpRequest) -> tuple[object, BadRequestError | None]:
    """Return a request's JSON (None if it has none), and why it must be refused."""
    try:
        request: object = json.loads(http.body)
    except ValueError:
        return None, BadRequestError("We could not parse the JSON body of your request.")
    if not http.headers.get("authorization", "").startswith("Bearer "):
        return request, BadRequestError("You didn't provide an API key.", status=401)
    if not isinstance(request, dict):
        return request, BadRequestError("The body of a request is a JSON object.")
    return request, None


def _chat(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    protocol.validate_chat(request)
    made = model.generate(request, reply, count)
    events = None
    if request.get("stream"):
        include = mapping(request.get("stream_options")).get("include_usage") is True
        events = protocol.ChatEvents(made, reply, include_usage=include)
    return Answer(
        model=made.model,
        prompt_tokens=made.prompt_tokens,
        cached_tokens=made.cached_tokens,
        output_tokens=made.output_tokens,
        body=b"" if events is not None else protocol.chat_completion(made, reply),
        generation=made,
        events=events,
    )


def _responses(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    if not isinstance(request.get("model"), str) or not request.get("input"):
        raise BadRequestError("Missing required parameter.", "input")
    if request.get("stream"):
        raise BadRequestError("The fake does not stream responses.", "stream")
    prompt = tokens.PRIMING_TOKENS + tokens.input_tokens(request["input"], count)
    chat = {
        "model": request["model"],
        "max_completion_tokens": request.get("max_output_tokens"),
        "service_tier": request.get("service_tier"),
    }
    made = model.generate(chat, reply, count, input_tokens=prompt)
    return Answer(
        model=made.model,
        prompt_tokens=made.prompt_tokens,
        cached_tokens=made.cached_tokens,
        output_tokens=made.output_tokens,
        body=protocol.response(made, reply),
    )


def _embeddings(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    if not isinstance(request.get("model"), str) or not request.get("input"):
        raise BadRequestError("Missing required parameter.", "input")
    prompt = tokens.input_tokens(request["input"], count)
    return Answer(
        model=str(request["model"]),
        prompt_tokens=prompt,
        body=protocol.embeddings(request, prompt_tokens=prompt, omit_usage=reply.omit_usage),
    )


def _moderations(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    name = str(request.get("model") or "omni-moderation-latest")
    prompt = tokens.input_tokens(request.get("input"), count)
    return Answer(model=name, prompt_tokens=prompt, body=protocol.moderation(request))


ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/chat/completions": _chat,
    "/v1/responses": _responses,
    "/v1/embeddings": _embeddings,
    "/v1/moderations": _moderations,
}
"""The billable paths."""
