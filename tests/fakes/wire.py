"""One HTTP/1.1 connection of a fake server: requests in, bytes and breakages out."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tests.fakes.replies import CloseWith

HOST = "127.0.0.1"
BACKLOG = 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientGoneError(ConnectionError):
    """The client closed its connection while we were answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that arrived in full; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers."""
    phrase = "OK" if status == 200 else "Error"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


class Connection:
    """A server's end of one connection; used by one thread, except `interrupt`."""

    def __init__(self, raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = raw
        self._file: BinaryIO = raw.makefile("rb")
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN)

    def read_request(self) -> HttpRequest | None:
        """Wait for the next request; None when the client has closed."""
        parts = self._file.readline(65_536).split()
        if len(parts) != 3:
            return None
        headers: dict[str, str] = {}
        while (line := self._file.readline(65_536).strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        size = int(headers.get("content-length", "0"))
        body = self._file.read(size) if size else b""
        if len(body) < size:
            return None
        path, _, query = parts[1].decode("latin-1").partition("?")
        method = parts[0].decode("latin-1")
        return HttpRequest(method=method, path=path, headers=headers, body=body, query=query)

    def write(self, data: bytes) -> None:
        """Keep bytes for the next `flush`."""
        self._buffer += data

    def flush(self) -> None:
        """Send what is kept.

        Raises:
            ClientGoneError: Nobody is there to take it.
        """
        data, self._buffer = self._buffer, bytearray()
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ClientGoneError(str(error)) from error

    def wait(self, seconds: float) -> None:
        """Send what is kept, then wait; a client that goes away ends the wait.

        Raises:
            ClientGoneError: It did, or the server is closing.
        """
        self.flush()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._poll.poll(left * 1000):
                return
            try:
                if not self._socket.recv(1, socket.MSG_PEEK):
                    raise ClientGoneError("closed by the client")
            except OSError as error:
                raise ClientGoneError(str(error)) from error
            time.sleep(min(left, 0.005))  # a pipelined request: it has to wait its turn

    def close(self, how: CloseWith = "fin") -> None:
        """Close the connection: with an orderly end, or a reset."""
        with contextlib.suppress(OSError):
            if how == "rst":
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            else:
                self._socket.shutdown(socket.SHUT_WR)
        self._file.close()
        self._socket.close()

    def interrupt(self) -> None:
        """End whatever the connection's thread is waiting for; any thread may call it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class ChunkedBody:
    """A body of unknown length, as HTTP chunks: compressed, cut small, both or neither."""

    def __init__(
        self, connection: Connection, *, gzip: bool = False, split_bytes: int | None = None
    ) -> None:
        self._connection = connection
        self._compress = zlib.compressobj(wbits=31) if gzip else None
        self._split_bytes = split_bytes

    def write(self, data: bytes) -> None:
        """Keep one event for the next flush of the connection."""
        if self._compress is not None:
            data = self._compress.compress(data) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        self._write_chunks(data)

    def end(self) -> None:
        """Keep the end of the body."""
        if self._compress is not None:
            self._write_chunks(self._compress.flush())
        self._connection.write(b"0\r\n\r\n")

    def _write_chunks(self, data: bytes) -> None:
        step = self._split_bytes or len(data) or 1
        for start in range(0, len(data), step):
            part = data[start : start + step]
            self._connection.write(b"%x\r\n%b\r\n" % (len(part), part))


@contextlib.contextmanager
def refusing_base_url() -> Iterator[str]:
    """Yield a base URL whose port refuses connections, and can't be taken by anybody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.bind((HOST, 0))
        yield f"http://{HOST}:{bound.getsockname()[1]}/v1"


@contextlib.contextmanager
def silent_base_url() -> Iterator[str]:
    """Yield a base URL that takes connections and requests, and never answers."""
    with socket.create_server((HOST, 0), backlog=BACKLOG) as listener:
        yield f"http://{HOST}:{listener.getsockname()[1]}/v1"
