"""Questions over HTTP: bounded in time and size, never followed elsewhere, never traced."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec
import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError, ReadTimeoutError

from tollspan.usage import TollspanError

_CHUNK_BYTES: Final = 1 << 16
_SHOWN_CHARACTERS: Final = 80


class HttpError(TollspanError):
    """No answer came that could be used; the text says why.

    Attributes:
        kind: Why, in a word for metrics: `timeout`, `unreachable`, `certificate`, `redirect`,
            `unreadable`, or the status that was answered.
    """

    def __init__(self, text: str, *, kind: str = "unreadable") -> None:
        super().__init__(text)
        self.kind = kind


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said.

    Attributes:
        status: 200 to 299, 304, or 400 and above.
        headers: By name, whatever its case.
        body: Decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Bearer(AuthBase):
    """Sends a key, if there is one. With it requests looks for no other, in `.netrc` say."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _who(url: str, key: str | None) -> AuthBase:
    """Say who asks: by the key, else by the name in the address, else nobody."""
    parts = urlsplit(url)
    if key is None and parts.username is not None:
        return HTTPBasicAuth(unquote(parts.username), unquote(parts.password or ""))
    return _Bearer(key)


class HttpClient:
    """Asks servers, through the proxy and with the authorities that the environment names.

    For one thread at a time. Connections are kept from one question to the next.

    Args:
        key: Is sent as a bearer token; None for none.
        timeout_seconds: Longest silence of a server, and longest time for an answer's body.
        most_bytes: Longest body that is read.
    """

    def __init__(self, key: str | None, *, timeout_seconds: float, most_bytes: int) -> None:
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._most_bytes = most_bytes
        self._session = requests.Session()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask for something.

        Raises:
            HttpError: There was no answer, it was too long or too slow, or it sends us elsewhere.
        """
        return self._ask("GET", url, headers, None)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send something.

        Raises:
            HttpError: As of `get`. The server may have taken it all the same.
        """
        return self._ask("POST", url, headers, body)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Ask by any method.

        Raises:
            HttpError: As of `get`. The server may have done it all the same.
        """
        return self._ask(method, url, headers, body)

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        ends_at = time.monotonic() + self._timeout_seconds
        with suppress_instrumentation():
            try:
                with self._session.request(
                    method,
                    url,
                    headers=dict(headers),
                    data=body,
                    auth=_who(url, self._key),
                    timeout=self._timeout_seconds,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    found = self._read(response, ends_at)
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                raise _failure(error) from None
        status = response.status_code
        if 300 <= status < 400 and status != 304:
            there = urlsplit(response.headers.get("location", "")).netloc or "elsewhere"
            text = f"it answers {status} and sends us to {there}: name the right address"
            raise HttpError(text, kind="redirect")
        return Answer(status=status, headers=response.headers, body=found)

    def _read(self, response: requests.Response, ends_at: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > self._most_bytes:
                raise HttpError(f"its answer is longer than {self._most_bytes:,} bytes")
            if time.monotonic() > ends_at:
                raise HttpError("its answer took too long", kind="timeout")
        return b"".join(parts)


def _failure(error: Exception) -> HttpError:
    """Say in short why there was no answer."""
    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return HttpError("it did not answer in time", kind="timeout")
    if isinstance(error, requests.exceptions.SSLError):
        text = f"its certificate can't be trusted ({_root(error)})"
        return HttpError(text, kind="certificate")
    if isinstance(error, requests.ConnectionError):
        return HttpError(f"it can't be reached ({_root(error)})", kind="unreachable")
    return HttpError(f"its answer can't be read ({_root(error)})")


def _root(error: BaseException) -> str:
    """Return what it was at bottom, without the words that were put around it."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
