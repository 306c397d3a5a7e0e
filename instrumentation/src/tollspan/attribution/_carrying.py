"""Functions that run in a context: plain ones, coroutines, generators of both kinds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, cast

from opentelemetry.context import get_current

from tollspan.usage import AttributionError

from ._frames import Deriving, Steps, enter, leave

F = TypeVar("F", bound=Callable[..., object])
_Function = Callable[..., Any]
Plan = Callable[[tuple[Any, ...], dict[str, Any]], Deriving]
"""Says from a call's arguments what it runs in."""


def bind(function: F) -> F:
    """Return the function bound to the context of now: attribution, span and baggage.

    Threads, executors, timers and `run_in_executor` start without a context; what they are given
    bound runs in this one. It may run often, also at the same time. Coroutine functions and
    generator functions may be bound too. Another process takes no bound function.

    Args:
        function: What is going to be called elsewhere.

    Raises:
        AttributionError: It can't be called.
    """
    context = get_current()
    return carry(function, lambda args, kwargs: lambda around: context)  # noqa: ARG005 - a plan


def carry(function: F, plan: Plan) -> F:
    """Return a function of the same kind and signature that runs in the context of a plan.

    Raises:
        AttributionError: It is no function.
    """
    given: Any = function
    if type(given) in (staticmethod, classmethod):
        return cast("F", type(given)(carry(given.__func__, plan)))
    if inspect.isclass(given) or not callable(given):
        raise AttributionError(f"{given!r} is no function: decorate or bind functions one by one")
    return cast("F", functools.wraps(function)(_wrapper(function, plan)))


def _wrapper(function: _Function, plan: Plan) -> _Function:
    kind: Any = function if _is_function(function) else type(function).__call__
    if inspect.isasyncgenfunction(kind):
        return _async_generators(function, plan)
    if inspect.isgeneratorfunction(kind):
        return _generators(function, plan)
    if inspect.iscoroutinefunction(kind):
        return _coroutines(function, plan)
    return _plain(function, plan)


def _is_function(given: object) -> bool:
    """Say whether something is a function itself, and no object that can be called."""
    return inspect.isroutine(given) or isinstance(given, functools.partial)


def _plain(function: _Function, plan: Plan) -> _Function:
    def run(*args: Any, **kwargs: Any) -> Any:
        owner = object()
        enter(owner, plan(args, kwargs)(get_current()))
        try:
            return function(*args, **kwargs)
        finally:
            leave(owner)

    return run


def _coroutines(function: Callable[..., Awaitable[Any]], plan: Plan) -> _Function:
    async def run(*args: Any, **kwargs: Any) -> Any:
        owner = object()
        enter(owner, plan(args, kwargs)(get_current()))
        try:
            return await function(*args, **kwargs)
        finally:
            leave(owner)

    return run


def _generators(function: Callable[..., Generator[Any, Any, Any]], plan: Plan) -> _Function:
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = Steps(plan(args, kwargs))
        return (yield from _Stepping(function(*args, **kwargs), steps))

    return run


class _Stepping(Generator[Any, Any, Any]):
    """A generator whose steps are taken in a context of their own."""

    def __init__(self, generator: Generator[Any, Any, Any], steps: Steps) -> None:
        self._generator = generator
        self._steps = steps

    def send(self, value: Any) -> Any:
        """Go on."""
        with self._steps:
            return self._generator.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        with self._steps:
            return self._generator.throw(*error)

    def close(self) -> None:
        """End it."""
        with self._steps:
            self._generator.close()


def _async_generators(function: Callable[..., AsyncGenerator[Any, Any]], plan: Plan) -> _Function:
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = Steps(plan(args, kwargs))
        generator = function(*args, **kwargs)
        given: Any = None
        resume: Callable[[Any], Awaitable[Any]] = generator.asend
        while True:
            try:
                with steps:
                    item = await resume(given)
            except StopAsyncIteration:
                return
            resume = generator.asend
            given = None
            thrown = _Thrown()
            with thrown:
                given = yield item
            if isinstance(thrown.error, GeneratorExit):
                with steps:
                    await generator.aclose()
                raise thrown.error
            if thrown.error is not None:
                given, resume = thrown.error, generator.athrow

    return run


class _Thrown:
    """Takes what is thrown in at a `yield`, to hand it on."""

    error: BaseException | None = None

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
