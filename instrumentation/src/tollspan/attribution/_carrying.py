"""Functions that run in a context: plain ones, coroutines, generators of both kinds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
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
        generator = function(*args, **kwargs)
        resume: Callable[[Any], Any] = generator.send
        given: Any = None
        try:
            while True:
                try:
                    with steps:
                        item = resume(given)
                except StopIteration as end:
                    return end.value
                try:
                    given = yield item
                    resume = generator.send
                except GeneratorExit:
                    with steps:
                        generator.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - it goes on into the generator
                    given, resume = error, generator.throw
        finally:
            del given  # an error holds this frame

    return run


def _async_generators(function: Callable[..., AsyncGenerator[Any, Any]], plan: Plan) -> _Function:
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = Steps(plan(args, kwargs))
        generator = function(*args, **kwargs)
        resume: Callable[[Any], Awaitable[Any]] = generator.asend
        given: Any = None
        try:
            while True:
                try:
                    with steps:
                        item = await resume(given)
                except StopAsyncIteration:
                    return
                try:
                    given = yield item
                    resume = generator.asend
                except GeneratorExit:
                    with steps:
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it goes on into the generator
                    given, resume = error, generator.athrow
        finally:
            del given  # an error holds this frame

    return run
