"""Reads requests that nobody has sent yet: what would the same arguments ask of the SDK?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit

from tollspan.instrumentation._hosts import HostTable
from tollspan.usage import Attribution, ConfigError, Request

from ._asked import Asked
from ._sdk import ApiPath, Sdk

# What of a body says which method it is for, where nobody names one.
_TELLING = {"messages": "/chat/completions", "input": "/responses", "prompt": "/completions"}


class Unsent(NamedTuple):
    """A request as it would be sent.

    Attributes:
        request: Its shape.
        said: Who pays for it, as far as `extra_body` says so; None when it says nothing.
    """

    request: Request
    said: Attribution | None


def read_unsent(
    sdk: Sdk,
    hosts: HostTable,
    body: Mapping[str, object],
    *,
    method: str | None = None,
    base_url: str | None = None,
) -> Unsent:
    """Read the arguments of an SDK's method, as the funnel would read its request.

    Args:
        sdk: Whose method it is.
        hosts: Whose calls they are, by host.
        body: The arguments by name, `extra_body` among them.
        method: The method, `responses.create` say; None where the arguments tell.
        base_url: Where the client sends; None for the provider's own host.

    Raises:
        ConfigError: There is no such method, or the arguments don't tell which it is.
    """
    path = _path(sdk, body, method)
    given = {name: value for name, value in body.items() if name != "extra_body"}
    asked = Asked(
        client=None,
        options=SimpleNamespace(json_data=given, extra_json=body.get("extra_body"), headers=None),
        is_stream=bool(body.get("stream")),
    )
    asked.take_ours()
    route = hosts.route(_url(base_url or f"https://{next(iter(sdk.hosts))}"))
    request = path.shape().request(asked.body(), route, is_stream=asked.is_stream)
    return Unsent(asked.apply_ours(request), asked.said)


def sdk_of_method(sdks: Sequence[Sdk], method: str) -> Sdk | None:
    """Return the SDK that has a method; None when none is gated that has it."""
    return next((sdk for sdk in sdks if any(method in path.methods for path in sdk.paths)), None)


def _path(sdk: Sdk, body: Mapping[str, object], method: str | None) -> ApiPath:
    paths = [path for path in sdk.paths if not path.is_batch]
    if method is not None:
        named = [path for path in paths if method in path.methods]
        if named:
            return named[0]
        known = ", ".join(name for path in paths for name in path.methods)
        raise ConfigError(f"{sdk.package} has no gated method {method!r}; known: {known}")
    if len(paths) == 1:
        return paths[0]
    for name, where in _TELLING.items():
        if name in body:
            return next(path for path in paths if path.path == where)
    raise ConfigError(
        f"the arguments don't say which call is meant: give one of {', '.join(_TELLING)}, or "
        'method="embeddings.create" and the like'
    )


class _Url(NamedTuple):
    host: str
    port: int | None


@lru_cache(maxsize=64)
def _url(text: str) -> _Url:
    """Read a base URL; the same text gives the same object, by which routes are remembered."""
    parts = urlsplit(text if "//" in text else f"//{text}")
    try:
        return _Url(parts.hostname or "", parts.port)
    except ValueError as error:
        raise ConfigError(f"base_url is {text!r}: {error}") from error
