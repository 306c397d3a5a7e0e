"""Proxies that pass for a stream and account for its end, once, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import wrapt

from tollspan.usage import OutcomeStatus

from ._call import Lifecycle
from ._run import Run
from ._shapes import StreamReader
from ._timing import Arrivals

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy  # before 2.0 it takes no type argument at run time

# What ends a program or a task: whoever leaves a block with one of these was cancelled.
_CANCELS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)


class SyncStream(Protocol):
    """What we need of a synchronous stream."""

    def __next__(self) -> object: ...


class AsyncStream(Protocol):
    """What we need of an asynchronous stream."""

    def __anext__(self) -> Awaitable[object]: ...


class Watch:
    """Sees a stream end. When nobody holds it any more, the stream was abandoned.

    Attributes:
        arrivals: Takes the time of each chunk.
        reader: Reads what passes.
        run: The call whose stream it is.
        source: Finds what gives a stream's chunks one by one: itself, or what it has inside.
    """

    __slots__ = ("_lifecycle", "arrivals", "reader", "run", "source")

    def __init__(
        self, lifecycle: Lifecycle, run: Run, reader: StreamReader, source: Callable[[Any], Any]
    ) -> None:
        self._lifecycle = lifecycle
        self.run = run
        self.arrivals = run.arrivals = Arrivals()
        self.reader = reader
        self.source = source

    def finish(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now."""
        self._lifecycle.finish_stream(self.run, status, error)

    async def finish_async(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now, without blocking the event loop."""
        await self._lifecycle.finish_stream_async(self.run, status, error)

    def finish_soon(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end in the worker."""
        self._lifecycle.finish_stream_soon(self.run, status, error)

    def __del__(self) -> None:
        # A finaliser may run anywhere, inside any lock: it only enqueues.
        if self.run.call.id in self._lifecycle.open_streams:
            self._lifecycle.finish_stream_soon(self.run, "partial")


def _items(stream: SyncStream, watch: Watch) -> Iterator[object]:
    """Pass the stream's chunks on, and see it end.

    As with the SDK's own iterators, several of them share one stream, and one that is closed or
    thrown into ends nothing but itself: hence no `yield` inside the `try`.
    """
    reader = watch.reader
    kept, sign, look_at = reader.kept, reader.sign, reader.look_at
    keep = kept.append
    next_chunk = watch.arrivals.timed(watch.source(stream))
    while True:
        try:
            chunk = next_chunk()
        except StopIteration:
            watch.finish("ok")
            return
        except BaseException as error:
            watch.finish("error", error)
            raise
        keep(chunk)
        if getattr(chunk, sign, None) is None and len(kept) < look_at:
            yield chunk
        else:
            is_hidden = reader.look(chunk)
            look_at = reader.look_at
            if not is_hidden:
                yield chunk


class SyncStreamProxy(_Proxy):
    """Stands for a synchronous stream: passes for its class, has its members, is as lazy."""

    def __init__(self, stream: SyncStream, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch
        self._self_response: object = None

    @property
    def response(self) -> object:
        """The HTTP response; whoever closes it, as the SDK's helpers do, ends the stream."""
        if self._self_response is None:
            self._self_response = _SyncResponse(self.__wrapped__.response, self._self_watch)
        return self._self_response

    def __iter__(self) -> Iterator[object]:
        return _items(self.__wrapped__, self._self_watch)

    def __next__(self) -> object:
        watch = self._self_watch
        while True:
            try:
                chunk = self.__wrapped__.__next__()
            except StopIteration:
                watch.finish("ok")
                raise
            except BaseException as error:
                watch.finish("error", error)
                raise
            next(watch.arrivals.ticks)
            watch.reader.kept.append(chunk)
            if not watch.reader.look(chunk):
                return chunk

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
            return cast("bool | None", self.__wrapped__.__exit__(kind, error, traceback))
        finally:
            if isinstance(error, _CANCELS):
                self._self_watch.finish("cancelled", error)
            else:
                self._self_watch.finish("partial")

    def close(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            self.__wrapped__.close()
        finally:
            self._self_watch.finish("partial")


async def _items_async(stream: AsyncStream, watch: Watch) -> AsyncIterator[object]:
    """Do as `_items` does; a cancelled task must not wait for us."""
    reader = watch.reader
    kept, sign, look_at = reader.kept, reader.sign, reader.look_at
    keep = kept.append
    next_chunk = watch.source(stream).__anext__
    tick = watch.arrivals.ticks.__next__
    while True:
        try:
            chunk = await next_chunk()
        except StopAsyncIteration:
            await watch.finish_async("ok")
            return
        except Exception as error:
            await watch.finish_async("error", error)
            raise
        except BaseException as error:
            watch.finish_soon("cancelled", error)
            raise
        tick()
        keep(chunk)
        if getattr(chunk, sign, None) is None and len(kept) < look_at:
            yield chunk
        else:
            is_hidden = reader.look(chunk)
            look_at = reader.look_at
            if not is_hidden:
                yield chunk


class AsyncStreamProxy(_Proxy):
    """Stands for an asynchronous stream: passes for its class, has its members, is as lazy."""

    def __init__(self, stream: AsyncStream, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch
        self._self_response: object = None

    @property
    def response(self) -> object:
        """The HTTP response; whoever closes it, as the SDK's helpers do, ends the stream."""
        if self._self_response is None:
            self._self_response = _AsyncResponse(self.__wrapped__.response, self._self_watch)
        return self._self_response

    def __aiter__(self) -> AsyncIterator[object]:
        return _items_async(self.__wrapped__, self._self_watch)

    async def __anext__(self) -> object:
        watch = self._self_watch
        while True:
            try:
                chunk = await self.__wrapped__.__anext__()
            except StopAsyncIteration:
                await watch.finish_async("ok")
                raise
            except Exception as error:
                await watch.finish_async("error", error)
                raise
            except BaseException as error:
                watch.finish_soon("cancelled", error)
                raise
            next(watch.arrivals.ticks)
            watch.reader.kept.append(chunk)
            if not watch.reader.look(chunk):
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
            return cast("bool | None", await self.__wrapped__.__aexit__(kind, error, traceback))
        finally:
            if isinstance(error, _CANCELS):
                self._self_watch.finish_soon("cancelled", error)
            else:
                await self._self_watch.finish_async("partial")

    async def close(self) -> None:
        """Close the stream; what has arrived is accounted for."""
        try:
            await self.__wrapped__.close()
        finally:
            await self._self_watch.finish_async("partial")

    async def aclose(self) -> None:
        """Close the stream; the other name of `close`."""
        try:
            await self.__wrapped__.aclose()
        finally:
            await self._self_watch.finish_async("partial")


class _SyncResponse(_Proxy):
    """Stands for the HTTP response of a synchronous stream."""

    def __init__(self, response: object, watch: Watch) -> None:
        super().__init__(response)
        self._self_watch = watch

    def close(self) -> None:
        """Close the response; what has arrived is accounted for."""
        try:
            self.__wrapped__.close()
        finally:
            self._self_watch.finish("partial")


class _AsyncResponse(_Proxy):
    """Stands for the HTTP response of an asynchronous stream."""

    def __init__(self, response: object, watch: Watch) -> None:
        super().__init__(response)
        self._self_watch = watch

    async def aclose(self) -> None:
        """Close the response; what has arrived is accounted for."""
        try:
            await self.__wrapped__.aclose()
        finally:
            await self._self_watch.finish_async("partial")


def is_async_stream(result: object) -> bool:
    """Say of a stream whether its chunks are awaited."""
    return hasattr(type(result), "__anext__")


def is_stream(result: object) -> bool:
    """Say whether an object gives chunks one by one: the SDK's streams, and others' proxies."""
    kind = type(result)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")
