"""Where a Redis is: its URL, read once, and how people are told of it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import msgspec

from tollspan.usage import ConfigError

_SCHEMES = ("redis", "rediss", "unix")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FOR_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_KEYS = {
    "redis": ("db", "name"),
    "rediss": ("db", "name", *_FOR_TLS),
    "unix": ("db", "name", "password", "username"),
}


class RedisPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A Redis, and the authority in it.

    Attributes:
        url: For the driver; with the password.
        shown: The same for people, without.
        name: The authority's, in all its keys.
        secrets: What no text may show.
    """

    url: str
    shown: str
    name: str
    secrets: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """What all keys begin with: one hash tag, by which a cluster keeps them in one slot."""
        return f"{{tollspan:{self.name}}}:"

    def without_secrets(self, text: str) -> str:
        """Return a text in which no secret stands."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def read_redis_url(url: str) -> RedisPlace:
    """Read the URL of a Redis.

    `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or
    `unix:///path/to/socket?db=0`; `?name=` names an authority when one Redis has several.

    Raises:
        ConfigError: It can't be meant so; the text shows no password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError("the URL of the Redis can't be read") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigError(f"a Redis is at redis://, rediss:// or unix://, not {parts.scheme}://")
    options = dict(pairs)
    known = _KEYS[parts.scheme]
    unknown = sorted(key for key in options if key not in known)
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r} in {_shown(parts, {})}; known: {known}")
    name = options.pop("name", "default")
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"an authority's name has letters, digits, '.', '_', '-', not {name!r}")
    _check_path(parts, options)
    secrets = {parts.password or "", unquote(parts.password or ""), options.get("password", "")}
    return RedisPlace(
        url=_written(parts, parts.netloc, options),
        shown=_shown(parts, {"name": name} if "name" in dict(pairs) else {}),
        name=name,
        secrets=tuple(sorted(secrets - {""}, key=len, reverse=True)),
    )


def _check_path(parts: SplitResult, options: dict[str, str]) -> None:
    """See that the database is a number: the driver would take anything else for 0.

    Raises:
        ConfigError: It isn't, or a socket has no path.
    """
    database = options.get("db", "0")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ConfigError("unix:// needs the path of a socket")
    elif not parts.hostname:
        raise ConfigError(f"{parts.scheme}:// needs a host")
    elif parts.path.strip("/"):
        database = parts.path.removeprefix("/")
    if not (database.isascii() and database.isdigit()):
        raise ConfigError(f"a Redis database is a number, not {database!r}")


def _shown(parts: SplitResult, options: dict[str, str]) -> str:
    return _written(parts, parts.netloc.rpartition("@")[2], options)


def _written(parts: SplitResult, host: str, options: dict[str, str]) -> str:
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme}://{host}{parts.path}{query}"
