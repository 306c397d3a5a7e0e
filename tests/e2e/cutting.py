"""A way to a server, through loopback, that can be cut in either direction.

What is sent into a cut waits there. When the cut heals it arrives, however late, as a network does
it that was away for a while; or all connections are broken, and it is lost.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Way:
    """Forwards what comes to a port of its own.

    Attributes:
        port: Where clients find it.

    Args:
        server_port: Where it leads, on loopback.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._to_server = threading.Event()
        self._to_client = threading.Event()
        self._ends: set[socket.socket] = set()
        self.heal()
        threading.Thread(target=self._accept, name="cutting", daemon=True).start()

    def cut(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Let nothing through any more, in one direction or in both."""
        for is_cut, is_open in ((to_server, self._to_server), (to_client, self._to_client)):
            if is_cut:
                is_open.clear()

    def heal(self, *, is_lost: bool = False) -> None:
        """Let all through again; what waited arrives now, unless it is lost."""
        if is_lost:
            for end in list(self._ends):
                _close(end)
        self._to_server.set()
        self._to_client.set()

    def close(self) -> None:
        """End it, and every connection."""
        _close(self._listener)
        self.heal(is_lost=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            self._ends |= {client, server}
            for from_, to, is_open in (
                (client, server, self._to_server),
                (server, client, self._to_client),
            ):
                threading.Thread(
                    target=self._forward, args=(from_, to, is_open), name="cutting", daemon=True
                ).start()

    def _forward(self, from_: socket.socket, to: socket.socket, is_open: threading.Event) -> None:
        """Forward until one end closes; what a client sent before it left arrives all the same."""
        with contextlib.suppress(OSError):
            while data := from_.recv(65536):
                is_open.wait()
                to.sendall(data)
            is_open.wait()
            to.shutdown(socket.SHUT_WR)
        self._ends.discard(from_)
        from_.close()


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def way_to(server_port: int) -> Iterator[Way]:
    """Open a way to a server, and close it."""
    way = Way(server_port)
    try:
        yield way
    finally:
        way.close()
