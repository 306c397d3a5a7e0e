"""The shell of every fake server: a loopback port, a thread per connection, an orderly end."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tests.fakes.wire import BACKLOG, HOST, Connection, HttpRequest

_JOIN_SECONDS = 5.0


class LoopbackServer(ABC):
    """Serves a port of 127.0.0.1 until it is closed; a context manager.

    It serves from the end of `__init__` on, so a subclass calls that last.

    Args:
        name: What its daemon threads are called, before the port.
        port: 0 takes a free one.
    """

    def __init__(self, name: str, *, port: int = 0) -> None:
        self._listener = socket.create_server((HOST, port), backlog=BACKLOG)
        self._port: int = self._listener.getsockname()[1]
        self._name = f"{name}-{self._port}"
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, name=self._name, daemon=True)
        self._acceptor.start()

    @abstractmethod
    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer one request, in the connection's thread; False ends the connection."""

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
    def root_url(self) -> str:
        """The server's address, without a path."""
        return f"http://{HOST}:{self._port}"

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
                target=self._serve, args=(connection,), name=f"{self._name}-{number}", daemon=True
            )
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            while (request := connection.read_request()) is not None:
                if not self.answer(connection, request):
                    return
                if request.headers.get("connection", "").lower() == "close":
                    return
        except OSError:
            return
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]
