"""Which provider a host belongs to; what no table knows counts as the SDK's own, marked assumed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Protocol


class Url(Protocol):
    """The parts of an HTTP client's URL that are needed."""

    @property
    def host(self) -> str:
        """Host name."""
        ...

    @property
    def port(self) -> int | None:
        """Port, None for the scheme's default."""
        ...


class Route:
    """Where a client's requests go."""

    __slots__ = ("host", "is_assumed", "port", "provider", "url")

    def __init__(
        self, url: Url, provider: str, host: str, port: int | None, *, is_assumed: bool
    ) -> None:
        self.url = url
        self.provider = provider
        self.host = host
        self.port = port
        self.is_assumed = is_assumed


class HostTable:
    """Finds the provider of a client's base URL, and remembers it by the URL object's identity.

    Args:
        own: The SDK's own provider.
        known: Host, or `host:port`, → provider. A `*` stands for anything; whole names come first.
    """

    def __init__(self, own: str, known: dict[str, str]) -> None:
        self._own = own
        self._known = known
        self._routes: dict[int, Route] = {}

    @property
    def providers(self) -> frozenset[str]:
        """Whose calls may come here."""
        return frozenset((self._own, *self._known.values()))

    def extend(self, hosts: tuple[tuple[str, str], ...]) -> None:
        """Know further hosts: the rules' own."""
        self._known = {**self._known, **dict(hosts)}
        self._routes = {}

    def route(self, url: Url) -> Route:
        """Return where a base URL leads."""
        route = self._routes.get(id(url))
        if route is not None and route.url is url:
            return route
        host, port = url.host, url.port
        provider = self._find(f"{host}:{port}".lower()) or self._find(host.lower())
        route = Route(url, provider or self._own, host, port, is_assumed=provider is None)
        if len(self._routes) >= 1024:
            self._routes = {}
        self._routes[id(url)] = route
        return route

    def _find(self, name: str) -> str | None:
        found = self._known.get(name)
        if found is not None:
            return found
        patterns = [known for known in self._known if "*" in known and fnmatchcase(name, known)]
        return self._known[max(patterns, key=len)] if patterns else None
