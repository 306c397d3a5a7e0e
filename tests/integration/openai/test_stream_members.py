"""The proxies stand for every member of the SDK's stream classes: a new one fails here first."""

from __future__ import annotations

import inspect

import pytest
from openai import AsyncStream, Stream

from tollspan.instrumentation._stream import AsyncStreamProxy, SyncStreamProxy

# Members that every object or generic class has, and annotations.
PLAIN = {
    "__module__", "__annotations__", "__doc__", "__init__", "__orig_bases__", "__dict__",
    "__weakref__", "__parameters__",
}  # fmt: skip
# The SDK's own machinery, which runs on the stream itself, inside what the proxy calls.
INNER = {"__stream__", "_iter_events", "_options"}
SYNC = {"__iter__", "__next__", "__enter__", "__exit__", "close"}
ASYNC = {"__aiter__", "__anext__", "__aenter__", "__aexit__", "close", "aclose"}


@pytest.mark.parametrize(
    ("kind", "proxy", "handled"),
    [(Stream, SyncStreamProxy, SYNC), (AsyncStream, AsyncStreamProxy, ASYNC)],
)
def test_every_member_is_known_and_the_ones_that_iterate_or_end_are_the_proxys_own(
    kind: type, proxy: type, handled: set[str]
) -> None:
    assert set(vars(kind)) - PLAIN - INNER - handled == set()
    assert {name for name in handled if name in vars(kind)} <= set(vars(proxy))


@pytest.mark.parametrize(
    ("kind", "proxy", "handled"),
    [(Stream, SyncStreamProxy, SYNC), (AsyncStream, AsyncStreamProxy, ASYNC)],
)
def test_the_proxys_members_are_called_and_awaited_as_the_originals(
    kind: type, proxy: type, handled: set[str]
) -> None:
    for name in handled & set(vars(kind)):
        theirs, ours = getattr(kind, name), getattr(proxy, name)
        names = list(inspect.signature(theirs).parameters)
        assert len(inspect.signature(ours).parameters) == len(names), name
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs), name
