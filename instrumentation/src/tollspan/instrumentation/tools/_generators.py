"""Generators of tools: the body runs within its call, step by step, and its end is seen once.

Between two steps nothing of the call is left in the consumer's context. What the body itself has
put into OpenTelemetry's context, a span of its own say, is there again at its next step.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from opentelemetry.context import attach, detach, get_current

from tollspan.attribution import current_call
from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._run import Run, StreamProxies
from tollspan.instrumentation._shapes import Reading, StreamReader
from tollspan.instrumentation._stream import Watch
from tollspan.instrumentation._tool_call import ToolCall, current_tool


class GeneratorReader:
    """Stands for what a generator used: its items are not looked at."""

    sign = ""
    look_at = 1
    first_chunk_at_ns: int | None = None

    def __init__(self, call: ToolCall) -> None:
        self.kept: list[object] = []
        self._call = call

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - the protocol's
        """Hide nothing."""
        return False

    def is_whole(self) -> bool:
        """Say that the end of a generator is its end."""
        return True

    def read(self) -> Reading:
        """Say what was used."""
        return self._call.reading()


class _Within:
    """A block in which a step of the body runs: its call and its span are the current ones."""

    __slots__ = ("_call", "_context", "_flight", "_tokens")

    def __init__(self, run: Run, call: ToolCall) -> None:
        self._flight = run.flight
        self._call = call
        self._context = run.span.context if run.span is not None else get_current()
        self._tokens: tuple[Any, Any, Any] | None = None

    def __enter__(self) -> None:
        self._tokens = (
            attach(self._context),
            current_call.set(self._flight),
            current_tool.set(self._call),
        )

    def __exit__(self, *_: object) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._context = get_current()
            current_tool.reset(tokens[2])
            current_call.reset(tokens[1])
            detach(tokens[0])


class Steps:
    """The steps of one generator whose call was let through.

    It is what `yield from` takes: each step goes to the body, and its end to the books. Left
    early, by its consumer or by the collector of garbage, it is accounted for in the worker: a
    finaliser may take no lock.
    """

    def __init__(self, generator: Any, within: _Within, watch: Watch) -> None:
        self.generator = generator
        self.watch = watch
        self.within = within

    @classmethod
    def of(cls, lifecycle: Lifecycle, call: ToolCall) -> StreamProxies:
        """Return what makes the steps of a call, as the life cycle asks for it."""

        def make(generator: object, run: Run, reader: StreamReader) -> Steps:
            watch = Watch(lifecycle, run, reader, _itself)
            return cls(generator, _Within(run, call), watch)

        return make

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        return self._step(self.generator.__next__)

    def send(self, value: object) -> object:
        """Take the next step with a value from the consumer."""
        return self._step(self.generator.send, value)

    def throw(self, *error: Any) -> object:
        """Take the next step with an error from the consumer."""
        return self._step(self.generator.throw, *error)

    def close(self) -> None:
        """End the body where it stands."""
        try:
            with self.within:
                self.generator.close()
        except BaseException as error:
            self.watch.finish_soon("error", error)
            raise
        self.watch.finish_soon("partial")

    def _step(self, step: Callable[..., object], *argument: object) -> object:
        try:
            with self.within:
                return step(*argument)
        except StopIteration:
            self.watch.finish("ok")
            raise
        except BaseException as error:
            self.watch.finish("error", error)
            raise


class AsyncSteps:
    """The steps of an asynchronous generator, of which tollspan may know nothing."""

    def __init__(self, made: Any) -> None:
        self._steps = made if isinstance(made, Steps) else None
        generator: Any = made.generator if isinstance(made, Steps) else made
        self.generator: AsyncGenerator[Any, Any] = generator

    async def take(self, step: Awaitable[object]) -> object:
        """Await one step of the body.

        Raises:
            StopAsyncIteration: It has ended, and is accounted for.
        """
        if self._steps is None:
            return await step
        watch = self._steps.watch
        try:
            with self._steps.within:
                return await step
        except StopAsyncIteration:
            await watch.finish_async("ok")
            raise
        except Exception as error:
            await watch.finish_async("error", error)
            raise
        except BaseException as error:
            watch.finish_soon("cancelled", error)
            raise

    async def leave(self) -> None:
        """End the body where it stands."""
        if self._steps is None:
            await self.generator.aclose()
            return
        watch = self._steps.watch
        try:
            with self._steps.within:
                await self.generator.aclose()
        except BaseException as error:
            watch.finish_soon("error", error)
            raise
        await watch.finish_async("partial")


class Thrown:
    """A block around a `yield`: what the consumer throws in is kept for the body to deal with.

    Attributes:
        error: What was thrown; None when a value was sent.
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.error = error
        return True


def _itself(stream: Any) -> Any:
    return stream
