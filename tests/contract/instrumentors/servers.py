"""Servers that are no provider: they refuse, say nothing, or too little."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.fakes import refusing_base_url, silent_base_url

Server = Callable[[], contextlib.AbstractContextManager[str]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Yield the address of a port that refuses connections."""
    with refusing_base_url() as url:
        yield url.removesuffix("/v1")


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Yield the address of a server that takes requests, and never answers."""
    with silent_base_url() as url:
        yield url.removesuffix("/v1")


@contextlib.contextmanager
def unknown() -> Iterator[str]:
    """Yield the address of a host that has none (RFC 6761)."""
    yield "http://nowhere.invalid"


@contextlib.contextmanager
def full() -> Iterator[str]:
    """Yield the address of a port whose queue is full: a further connection is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as s:
        address = listener.getsockname()
        for _ in range(8):
            waiting = s.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextlib.contextmanager
def headers_only() -> Iterator[str]:
    """Yield the address of a server that answers with headers, and keeps the body."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(HEAD)
                done.wait(5)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join(5)
