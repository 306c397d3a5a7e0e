"""What one SDK is to the funnel: its names, its paths, and who else wraps its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from tollspan.instrumentation._shapes import Shape


class Sightings(Protocol):
    """Where is counted what should not happen, or is not covered yet: `doctor` shows it."""

    def __call__(self, kind: str, name: str) -> None:
        """Count it; must not block."""
        ...


class ApiPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path of the API that the gate knows.

    Attributes:
        path: As the SDK's own methods post to it.
        shape: Makes the shape of its requests and answers.
        methods: What people call, `chat.completions.create` say; for the docs.
        owners: Module, class and method of what other instrumentors wrap around it.
        asks_for_usage: Its streams say their usage only when asked.
        not_metered: Names what a body asks for whose use its answer does not say.
        turns: Where a body has what was said in turn; None where nobody talks.
    """

    path: str
    shape: Callable[[], Shape]
    methods: tuple[str, ...]
    owners: tuple[tuple[str, str, str], ...]
    asks_for_usage: bool = False
    not_metered: Callable[[Mapping[str, object]], str | None] | None = None
    turns: str | None = None


class Sdk(msgspec.Struct, frozen=True, kw_only=True):
    """One SDK.

    Attributes:
        package: The name to import.
        provider: Whose calls they are where the host says nothing.
        hosts: Host, or `host:port`, → provider.
        clients: Names of the package's client classes, which others override methods in.
        paths: What is gated.
        billable: From method and URL to the path of what may cost money, else None.
        stream_source: Finds what gives a stream's chunks one by one: itself, or what it has inside.
        has_native_span: Says of a client whether the SDK makes spans itself.
        sockets: Modules whose classes `connect` to a WebSocket, which does not pass the funnel.
        left_out: Names a client that is not metered, though it has the same paths.
    """

    package: str
    provider: str
    hosts: dict[str, str]
    clients: tuple[str, ...]
    paths: tuple[ApiPath, ...]
    billable: Callable[[str, str], str | None]
    stream_source: Callable[[Any], Any]
    has_native_span: Callable[[Any], bool] | None = None
    sockets: tuple[str, ...] = ()
    left_out: Callable[[Any], str | None] | None = None
