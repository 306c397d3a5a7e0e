"""Where webhooks may go: never into the server's own network, whatever a tenant or a name says."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from tollspan.server.problems import ProblemError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LONGEST_URL: Final = 2_048
_PORTS: Final = {"https": 443, "http": 80}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOW_32: Final = 0xFFFFFFFF


class ForbiddenAddressError(OSError):
    """A name stands for an address to which nothing may be sent."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A target's address, taken apart.

    Attributes:
        is_tls: It is https.
        host: A name or an address, without brackets.
        port: Its port.
        netloc: Host and port as the address says them.
        path: With its query.
    """

    is_tls: bool
    host: str
    port: int
    netloc: str
    path: str


def place_of(url: str, *, may_be_private: bool) -> Place:
    """Take a target's address apart.

    Args:
        url: As a tenant says it.
        may_be_private: The setting: http too, and addresses of the server's own network.

    Raises:
        ProblemError: It is no address to which anything may be sent.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise _wrong(f"expected up to {_LONGEST_URL:,} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong("expected an address such as https://hooks.example.com/tollspan") from None
    _check(parts, port, may_be_private=may_be_private)
    host = parts.hostname or ""
    return Place(
        is_tls=parts.scheme == "https",
        host=host,
        port=port or _PORTS[parts.scheme],
        netloc=parts.netloc,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def _check(parts: SplitResult, port: int | None, *, may_be_private: bool) -> None:
    schemes = ("https", "http") if may_be_private else ("https",)
    if parts.scheme not in schemes:
        raise _wrong(f"expected {' or '.join(schemes)}://…")
    if not parts.hostname or port == 0:
        raise _wrong("expected a host")
    if "@" in parts.netloc or parts.fragment:
        raise _wrong("expected no name, password or fragment in it; the signature says who sends")
    literal = _literal(parts.hostname)
    if literal is not None and not may_be_private and not is_public(literal):
        raise _wrong("it is of a private network; this server sends to public addresses only")


def resolve(place: Place, *, may_be_private: bool) -> str:
    """Return the address to connect to: what is connected to is what was checked.

    Raises:
        OSError: The name stands for none.
        ForbiddenAddressError: It stands for one to which nothing may be sent.
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not may_be_private:
        for text in addresses:
            if not is_public(ipaddress.ip_address(text.partition("%")[0])):
                raise ForbiddenAddressError("its name stands for an address of a private network")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Say whether an address is one of the public Internet, and of a single machine."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & _LOW_32)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    is_odd = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not is_odd


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _wrong(text: str) -> ProblemError:
    return ProblemError(400, f"url: {text}")
