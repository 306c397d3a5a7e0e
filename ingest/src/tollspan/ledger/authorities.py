"""Opens a shared authority by its address. Drivers are loaded when one is asked for."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from tollspan.budget import LeaseSettings
from tollspan.usage import ConfigError

from .inspecting import ServedAuthority

_PLACES = {
    "redis": ("redis", "RedisAuthority", "redis"),
    "rediss": ("redis", "RedisAuthority", "redis"),
    "unix": ("redis", "RedisAuthority", "redis"),
    "postgresql": ("postgres", "PostgresAuthority", "postgresql"),
    "postgres": ("postgres", "PostgresAuthority", "postgresql"),
}
_NAMING = ("name", "host", "hostaddr", "port", "dbname", "service")
"""Keys of an address's query that say which place it is."""


class _Opener(Protocol):
    def __call__(
        self, url: str, *, life_seconds: float, horizon_seconds: float, timeout_seconds: float
    ) -> ServedAuthority: ...


def open_authority(url: str, settings: LeaseSettings) -> ServedAuthority:
    """Return the shared authority at an address; it connects when it is first asked.

    Raises:
        ConfigError: The address is none that is known, or its driver is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _PLACES:
        raise ConfigError(f"no authority is known whose address begins with {scheme!r}")
    module, name, extra = _PLACES[scheme]
    try:
        opener: _Opener = getattr(import_module(f"tollspan.ledger.{module}"), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the authority {scheme}://… needs a driver: pip install 'tollspan[{extra}]' ({error})"
        ) from error
    return opener(
        url,
        life_seconds=settings.life_seconds,
        horizon_seconds=settings.horizon_seconds,
        timeout_seconds=settings.wait_seconds,
    )


def name_of(url: str) -> str:
    """Name an authority by its address without the secrets in it, for what is kept about it."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    # One place may have several; PostgreSQL's may be named in the query alone, or be several hosts.
    named = "&".join(value for key in _NAMING for value in asked.get(key, ()))
    place = f"{parts.netloc.rpartition('@')[2].lower()}{parts.path}?{named}"
    scheme = _PLACES.get(parts.scheme, (parts.scheme,))[0]
    return f"{scheme}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
