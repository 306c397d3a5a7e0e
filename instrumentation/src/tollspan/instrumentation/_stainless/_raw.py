"""Reads the bytes of an answer as the caller reads them, whichever way that is.

The HTTP response's own byte stream is stood in for, below the decoding of its content: `read`,
`iter_*`, `parse` and the SDK's own streams all draw from there. The caller keeps the SDK's object.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
import wrapt

from tollspan.instrumentation._shapes import (
    UNREAD,
    Attached,
    Reading,
    Shape,
    StreamReader,
    View,
    error_word,
    view,
)
from tollspan.safety import Guard
from tollspan.usage import OutcomeStatus, Request

if TYPE_CHECKING:
    from tollspan.instrumentation._stream import Watch

    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy  # before 2.0 it takes no type argument at run time

_MOST_BYTES = 64 << 20
_END_OF_EVENT = b"\n\n"
_guard = Guard("instrumentation.raw")
_decode = msgspec.json.Decoder().decode


class HttpResponse(Protocol):
    """What is needed of the HTTP library's response."""

    stream: Any
    headers: Any
    content: bytes
    status_code: int
    is_closed: bool
    is_stream_consumed: bool


class ByteReader(Protocol):
    """Reads bytes as they come over the wire."""

    def feed(self, data: bytes) -> None:
        """Take note of some; never raises."""
        ...

    def is_whole(self) -> bool:
        """Say whether all that matters has come."""
        ...


class EndWatch(Protocol):
    """Is told how a stream of bytes ends, once or more often: the first time counts."""

    def finish(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now."""
        ...

    async def finish_async(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now, without blocking the event loop."""
        ...

    def finish_soon(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end in another thread."""
        ...


def http_response(result: object) -> HttpResponse | None:
    """Return the HTTP response that a raw result is or has; None for a parsed one."""
    kind = type(result)
    if hasattr(kind, "http_request"):
        return cast("HttpResponse", getattr(result, "http_response", None))
    return cast("HttpResponse", result) if hasattr(kind, "num_bytes_downloaded") else None


def answer_of(result: object) -> object:
    """Return an answer by its fields: the SDK's object, or a view of what a raw one has read.

    None for a raw one whose bytes are still to come, or are no JSON object.
    """
    response = http_response(result)
    if response is None:
        return View(cast("dict[str, object]", result)) if isinstance(result, dict) else result
    if not response.is_stream_consumed:
        return None
    try:
        found = _decode(response.content)
    except (RuntimeError, msgspec.MsgspecError):
        return None
    return View(cast("dict[str, object]", found)) if isinstance(found, dict) else None


def read_body(shape: Shape, response: HttpResponse) -> Reading:
    """Read a response whose body the HTTP library has in memory."""
    try:
        content = response.content
    except RuntimeError:  # closed before it was read
        return UNREAD
    return _read_json(shape, content)


def _read_json(shape: Shape, content: bytes) -> Reading:
    try:
        answer = _decode(content)
    except msgspec.MsgspecError:
        return UNREAD
    if not isinstance(answer, dict):
        return UNREAD
    return shape.answer(View(cast("dict[str, object]", answer)))


class RawReader(Attached):
    """Reads an answer's bytes: one JSON object, or a stream of events.

    Attributes:
        first_chunk_at_ns: When the first bytes came.
    """

    sign = ""
    look_at = 0

    def __init__(self, shape: Shape, request: Request, response: HttpResponse) -> None:
        self._shape = shape
        self.kept: list[object] = []
        self.first_chunk_at_ns: int | None = None
        self._content = Content(str(response.headers.get("content-encoding", "")))
        self._body: list[bytes] | None = []
        self._size = 0
        self._events: StreamReader | None = None
        self._lines = _Lines()
        self._is_done = False
        self._error: str | None = None
        if str(response.headers.get("content-type", "")).startswith("text/event-stream"):
            self._events = shape.reader(request, hides_usage=False)

    def attach(self, result: object, watch: Watch) -> object:
        """Stand in for the byte stream of the response that a raw result is or has."""
        response = http_response(result)
        if response is not None:
            response.stream = Tee(response.stream, self, watch)
        return result

    def feed(self, data: bytes) -> None:
        """Take bytes as they came over the wire; never raises."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
        with _guard:
            plain = self._content.decode(data)
            if self._events is not None:
                self._feed_events(plain)
            elif self._body is not None:
                self._size += len(plain)
                if self._size > _MOST_BYTES:
                    self._body = None
                else:
                    self._body.append(plain)

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - the protocol's; bytes are fed instead
        """Hide nothing."""
        return False

    def is_whole(self) -> bool:
        """Say whether all that matters has come."""
        if self._events is None:
            return False
        return self._is_done or self._events.is_whole()

    def read(self) -> Reading:
        """Say what the bytes said."""
        if self._events is not None:
            self._feed_events(_END_OF_EVENT)  # the last one may lack its blank line
            reading = self._events.read()
            if self._error is None:
                return reading
            return msgspec.structs.replace(reading, error_type=self._error)
        return _read_json(self._shape, b"".join(self._body)) if self._body else UNREAD

    def _feed_events(self, plain: bytes) -> None:
        for text in self._lines.feed(plain):
            if self._events is not None:
                self._see(self._events, text)

    def _see(self, events: StreamReader, text: bytes) -> None:
        """Show one event to the reader of events."""
        if text.startswith(b"[DONE]"):
            self._is_done = True
            return
        try:
            event = view(_decode(text))
        except msgspec.MsgspecError:
            return
        if getattr(event, "error", None) is not None and self._error is None:
            self._error = error_word(_said(event, "code"), _said(event, "type"))
        events.kept.append(event)
        if getattr(event, events.sign, None) is not None or len(events.kept) >= events.look_at:
            events.look(event)


def _said(event: object, name: str) -> object:
    """Return what an error event, on which the SDK would raise, says of itself."""
    return getattr(getattr(event, "error", None), name, None)


class Content:
    """Undoes the encoding of an answer's content, as far as the standard library can.

    Attributes:
        is_readable: It can.
    """

    def __init__(self, encoding: str) -> None:
        self._inflate: Any = None
        self.is_readable = encoding.strip().lower() in ("", "identity", "gzip", "deflate")
        if encoding.strip().lower() in ("gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def decode(self, data: bytes) -> bytes:
        """Return what the bytes say; nothing for an encoding that is not known."""
        if not self.is_readable:
            return b""
        return cast("bytes", self._inflate.decompress(data)) if self._inflate else data


class _Lines:
    """Cuts bytes into the data of server-sent events, wherever they were split on the way."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of each event that is complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].lstrip(b" "))
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data = []


class Tee(_Proxy):
    """Stands for an HTTP response's byte stream, synchronous or not.

    Args:
        stream: The stream.
        reader: Is fed what passes.
        watch: Is told how it ends.
    """

    def __init__(self, stream: object, reader: ByteReader, watch: EndWatch) -> None:
        super().__init__(stream)
        self._self_reader = reader
        self._self_watch = watch

    def __iter__(self) -> Iterator[bytes]:
        reader, watch = self._self_reader, self._self_watch
        try:
            for data in self.__wrapped__:
                reader.feed(data)
                yield data
        except GeneratorExit:
            raise  # whoever stops reading closes the response, or drops it
        except BaseException as error:
            watch.finish("error", error)
            raise
        watch.finish("ok")

    def close(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            self.__wrapped__.close()
        finally:
            self._self_watch.finish("ok" if self._self_reader.is_whole() else "partial")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reader, watch = self._self_reader, self._self_watch
        try:
            async for data in self.__wrapped__:
                reader.feed(data)
                yield data
        except GeneratorExit:
            raise
        except Exception as error:
            await watch.finish_async("error", error)
            raise
        except BaseException as error:
            watch.finish_soon("cancelled", error)
            raise
        await watch.finish_async("ok")

    async def aclose(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            await self.__wrapped__.aclose()
        finally:
            await self._self_watch.finish_async("ok" if self._self_reader.is_whole() else "partial")
