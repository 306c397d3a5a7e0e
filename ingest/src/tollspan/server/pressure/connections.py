"""Connections: how many there are, and how long one may keep the server waiting.

uvicorn bounds neither the time in which a request's head comes, nor that in which an answer is
read.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Any, ClassVar, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from tollspan.server.settings import ServerSettings

_OF_ONE_ADDRESS: Final = 4
_SAID: Final = (
    b'{"error":{"type":"unavailable","message":"there are too many connections; come again"}}'
)
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_SAID), _SAID)
)


class LimitedProtocol(H11Protocol):
    """HTTP on a connection that can't be kept for nothing."""

    settings: ClassVar[ServerSettings]
    proxies: ClassVar[Proxies]
    of_address: ClassVar[Counter[str]]

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        most = self.settings.most_connections
        self._address = self.client[0] if self.client else ""
        self.of_address[self._address] += 1
        is_hog = self.of_address[self._address] > max(1, most // _OF_ONE_ADDRESS)
        if len(self.connections) > most or (is_hog and self._address not in self.proxies):
            transport.write(_FULL)
            transport.close()
            self._abort_later()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop(self._head_timer)
        self._stop(self._stall_timer)
        if self._address is not None:
            self.of_address[self._address] -= 1
            if not self.of_address[self._address]:
                del self.of_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on, and see that heads of requests come in time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_working():
            self._stop(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """Wait for the next request; or for the rest of this one, which nobody reads."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()
        elif not self._is_working() and self.conn.their_state is h11.SEND_BODY:
            self._await_head()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing happens."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    def pause_writing(self) -> None:
        """Wait for who reads nothing, for a while."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """Go on, as something was read."""
        self._stop(self._stall_timer)
        super().resume_writing()

    def _is_working(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # uvicorn says it is never None
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._stop(self._head_timer)
        self._head_timer = self.loop.call_later(self.settings.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if not self._is_working():
            self.transport.abort()

    def _abort_later(self) -> None:
        """Have the connection end, whether its other end reads or not."""
        self._stop(self._stall_timer)
        self._stall_timer = self.loop.call_later(
            self.settings.stalled_seconds, self.transport.abort
        )

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class Proxies:
    """Addresses and networks of proxies.

    Args:
        said: Parted by commas; `*` for all.
    """

    def __init__(self, said: str) -> None:
        self._is_all = said.strip() == "*"
        words = [] if self._is_all else [word.strip() for word in said.split(",") if word.strip()]
        self._networks = [ipaddress.ip_network(word, strict=False) for word in words]

    def __contains__(self, address: object) -> bool:
        if self._is_all:
            return True
        try:
            found = ipaddress.ip_address(str(address))
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def limited_protocol(settings: ServerSettings) -> type[asyncio.Protocol]:
    """Return what uvicorn speaks with connections by, for a server with these bounds.

    Raises:
        ValueError: `forwarded_allow_ips` names something else than addresses and networks.
    """
    known: dict[str, Any] = {
        "settings": settings,
        "proxies": Proxies(settings.forwarded_allow_ips),
        "of_address": Counter(),
    }
    return type("LimitedProtocolOfServer", (LimitedProtocol,), known)
