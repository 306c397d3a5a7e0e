"""Proxies that pass for a stream and account for its end, once, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import wrapt

from tollspan.usage import OutcomeStatus

from ._call import Lifecycle, Run, StreamReader


class SyncStream(Protocol):
    """What we need of a synchronous stream."""

    def __iter__(self) -> Iterator[object]: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...
    def close(self) -> None:
        """Close the connection."""
        ...


class AsyncStream(Protocol):
    """What we need of an asynchronous stream."""

    def __anext__(self) -> Awaitable[object]: ...
    async def __aenter__(self) -> object: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...
    def close(self) -> Awaitable[None]:
        """Close the connection."""
        ...


class Watch:
    """Sees a stream end. When nobody holds it any more, the stream was abandoned."""

    __slots__ = ("_lifecycle", "_run", "reader")

    def __init__(self, lifecycle: Lifecycle, run: Run, reader: StreamReader) -> None:
        self._lifecycle = lifecycle
        self._run = run
        self.reader = reader

    def finish(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now."""
        self._lifecycle.finish_stream(self._run, status, error)

    async def finish_async(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now, without blocking the event loop."""
        await self._lifecycle.finish_stream_async(self._run, status, error)

    def finish_soon(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end in the worker."""
        self._lifecycle.finish_stream_soon(self._run, status, error)

    def __del__(self) -> None:
        # A finaliser may run anywhere, inside any lock: it only enqueues.
        if self._run.call.id in self._lifecycle.open_streams:
            self._lifecycle.finish_stream_soon(self._run, "partial")


def _items(stream: SyncStream, watch: Watch) -> Iterator[object]:
    """Pass the stream's chunks on, and see it end."""
    see = watch.reader.see
    try:
        for chunk in stream:
            if see(chunk):
                continue
            yield chunk
    except GeneratorExit:
        watch.finish_soon("partial")
        raise
    except BaseException as error:
        watch.finish("error", error)
        raise
    watch.finish("ok")


class SyncStreamProxy(wrapt.ObjectProxy[SyncStream]):
    """Stands for a synchronous stream: same class by `isinstance`, same members, same laziness."""

    def __init__(self, stream: SyncStream, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch
        self._self_items = _items(stream, watch)

    def __iter__(self) -> Iterator[object]:
        return self._self_items

    def __next__(self) -> object:
        return next(self._self_items)

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return self.__wrapped__.__exit__(kind, error, traceback)
        finally:
            self._self_watch.finish("partial")

    def close(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            self.__wrapped__.close()
        finally:
            self._self_watch.finish("partial")


class AsyncStreamProxy(wrapt.ObjectProxy[AsyncStream]):
    """Stands for an asynchronous stream: same class by `isinstance`, members and laziness."""

    def __init__(self, stream: AsyncStream, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch
        self._self_see = watch.reader.see
        self._self_next = stream.__anext__

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        while True:
            try:
                chunk = await self._self_next()
            except StopAsyncIteration:
                await self._self_watch.finish_async("ok")
                raise
            except Exception as error:
                await self._self_watch.finish_async("error", error)
                raise
            except BaseException as error:
                self._self_watch.finish_soon("cancelled", error)
                raise
            if not self._self_see(chunk):
                return chunk

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self.__wrapped__.__aexit__(kind, error, traceback)
        finally:
            await self._self_end(error)

    async def close(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            await self.__wrapped__.close()
        finally:
            await self._self_watch.finish_async("partial")

    async def aclose(self) -> None:
        """Close the stream; the other name of `close`."""
        await self.close()

    async def _self_end(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._self_watch.finish_soon("cancelled", error)
        else:
            await self._self_watch.finish_async("partial")


def proxies(
    lifecycle: Lifecycle, proxy: Callable[..., object]
) -> Callable[[object, Run, StreamReader], object]:
    """Return a maker of proxies of one kind."""

    def make(stream: object, run: Run, reader: StreamReader) -> object:
        return proxy(stream, Watch(lifecycle, run, reader))

    return make
