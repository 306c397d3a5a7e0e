"""One scenario for both kinds of client: what is awaited in the one is called in the other.

A scenario is a coroutine function. With the synchronous client it never waits: it runs to its end
without an event loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
Until = Callable[[list[Any]], bool]


class Sync:
    """Synchronous clients."""

    name = "sync"
    is_async = False

    def run(self, scenario: Coroutine[Any, Any, _T]) -> _T:
        """Run a scenario to its end."""
        try:
            scenario.send(None)
        except StopIteration as done:
            result: _T = done.value
            return result
        raise AssertionError("a synchronous scenario must not wait")

    async def get(self, given: Any) -> Any:
        """Return what a method returned."""
        return given

    async def next(self, stream: Any) -> Any:
        """Take one chunk; None at the end."""
        return next(stream, None)

    async def loop(self, stream: Any, until: Until | None = None) -> list[Any]:
        """Take chunks in a loop, to the end or until enough has come."""
        taken: list[Any] = []
        for chunk in stream:
            taken.append(chunk)
            if until is not None and until(taken):
                break
        return taken

    @asynccontextmanager
    async def block(self, manager: Any) -> AsyncIterator[Any]:
        """Enter a `with` block."""
        with manager as entered:
            yield entered


class Async:
    """Asynchronous clients, all in one event loop."""

    name = "async"
    is_async = True

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, scenario: Coroutine[Any, Any, _T]) -> _T:
        """Run a scenario to its end."""
        return self._runner.run(scenario)

    async def get(self, given: Any) -> Any:
        """Return what a method returned, awaited where that is due."""
        return await given if inspect.isawaitable(given) else given

    async def next(self, stream: Any) -> Any:
        """Take one chunk; None at the end."""
        return await anext(stream, None)

    async def loop(self, stream: Any, until: Until | None = None) -> list[Any]:
        """Take chunks in a loop, to the end or until enough has come."""
        taken: list[Any] = []
        async for chunk in stream:
            taken.append(chunk)
            if until is not None and until(taken):
                break
        return taken

    def block(self, manager: Any) -> AbstractAsyncContextManager[Any]:
        """Enter an `async with` block."""
        entered: AbstractAsyncContextManager[Any] = manager
        return entered


Way = Sync | Async
