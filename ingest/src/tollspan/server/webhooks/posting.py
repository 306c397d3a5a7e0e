"""Sends one request to a target: to the address that was checked, bounded in time and size."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import ssl
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from tollspan.server.problems import ProblemError

from .addresses import ForbiddenAddressError, Place, place_of, resolve

_LONGEST_WAIT_SECONDS: Final = 86_400.0


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request.

    Attributes:
        status: What was answered; None for nothing.
        problem: Why it counts as failed; empty if it does not.
        retry_after_seconds: How long to wait, if the target says so.
    """

    status: int | None = None
    problem: str = ""
    retry_after_seconds: float | None = None


class Poster:
    """Posts to targets; no proxy, no redirect, no cookie, no credentials of the machine.

    Args:
        may_be_private: Targets may be of the server's own network, and without TLS.
        seconds: Within which a target has to answer, all in all.
    """

    def __init__(self, *, may_be_private: bool, seconds: float) -> None:
        self._may_be_private = may_be_private
        self._seconds = seconds
        self._tls = ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Send a request; whatever happens is told, never raised."""
        try:
            place = place_of(url, may_be_private=self._may_be_private)
            address = resolve(place, may_be_private=self._may_be_private)
            return self._send(place, address, body, headers)
        except ProblemError as error:
            return Posted(problem=str(error))
        except ForbiddenAddressError as error:
            return Posted(problem=str(error))
        except TimeoutError:
            return Posted(problem=f"it did not answer within {self._seconds:g} s")
        except ssl.SSLError as error:
            return Posted(problem=f"its certificate can't be trusted ({error.reason})")
        except socket.gaierror:
            return Posted(problem="its name stands for no address")
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return Posted(problem=f"it can't be reached ({type(error).__name__})")

    def _send(self, place: Place, address: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        connection = self._connection(place, address)
        is_over = threading.Event()  # set before the cut, so whoever sees that knows why
        ends = threading.Timer(self._seconds, _cut, (connection, is_over))
        try:
            connection.connect()
            ends.daemon = True
            ends.start()
            connection.request(
                "POST", place.path, body=body, headers={"Host": place.netloc, **headers},
                preload_content=False,
            )  # fmt: skip
            answer = connection.getresponse()  # its body is not read at all
            status, wait = answer.status, answer.headers.get("Retry-After")
            if is_over.is_set():  # its head ended because we ended it
                raise TimeoutError
        except (HTTPError, http.client.HTTPException, OSError):
            if is_over.is_set():
                raise TimeoutError from None
            raise
        finally:
            ends.cancel()
            connection.close()
        if 200 <= status < 300:
            return Posted(status=status)
        said = f"it answers {status}"
        if 300 <= status < 400:
            said = f"it answers {status} and sends us elsewhere: name the right address"
        return Posted(status=status, problem=said, retry_after_seconds=_seconds(wait))

    def _connection(self, place: Place, address: str) -> HTTPConnection:
        if not place.is_tls:
            return HTTPConnection(address, place.port, timeout=self._seconds)
        return HTTPSConnection(
            address, place.port, timeout=self._seconds, ssl_context=self._tls,
            server_hostname=place.host, assert_hostname=place.host,
        )  # fmt: skip


def _cut(connection: HTTPConnection, is_over: threading.Event) -> None:
    """End a connection that another thread waits for."""
    is_over.set()
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _seconds(said: str | None) -> float | None:
    """Read `Retry-After`: seconds, or a date; None for nothing that can be read."""
    if said is None:
        return None
    text = said.strip()
    try:
        wait = float(int(text)) if text.isascii() and text.isdigit() else _until(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, wait), _LONGEST_WAIT_SECONDS) if math.isfinite(wait) else None


def _until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()
