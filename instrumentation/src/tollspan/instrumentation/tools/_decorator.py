"""`@tool`: wraps a function of any kind in one that passes for it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any, Protocol, TypeVar, cast, overload

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.instrumentation._shapes import StreamReader
from tollspan.instrumentation._spans import SpanEmitter
from tollspan.instrumentation._tool_call import ToolCall, current_tool
from tollspan.usage import Request

from ._declared import Declared, declare
from ._generators import AsyncSteps, GeneratorReader, Steps, Thrown
from ._host import lifecycle_in_force

_Function = TypeVar("_Function", bound=Callable[..., object])


class ToolDecorator(Protocol):
    """Decorates a function, and returns one of the same type."""

    def __call__(self, function: _Function, /) -> _Function: ...


@overload
def tool(function: _Function, /) -> _Function: ...
@overload
def tool(
    *,
    name: str | None = None,
    cost: str | Decimal | None = None,
    unit: str | None = None,
    price: str | Decimal | None = None,
    max_units: int | None = None,
    call_id: str | None = None,
) -> ToolDecorator: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    cost: str | Decimal | None = None,
    unit: str | None = None,
    price: str | Decimal | None = None,
    max_units: int | None = None,
    call_id: str | None = None,
) -> object:
    """Have every call of a function asked for, priced, and traced as `execute_tool`.

    The gate is asked before the function runs, and the usage event is in the ledger before the
    caller gets the result. What it costs, it costs also when it raises. Generators run as lazily
    as before: they are asked for at their first step, and accounted for once, however they end.
    Without tollspan installed, the function runs as if it were not decorated.

    Args:
        function: A function, coroutine function, generator or asynchronous generator.
        name: The tool's name in prices, rules and reports; None for the function's.
        cost: USD for each call, exact: `"0.005 USD"` or a `Decimal`. `"0 USD"` makes it free.
        unit: What it is priced by: `pages`, or any unit that `report_usage` names as it runs.
            A call in which nobody reports it is of unknown cost: report 0 for none.
        price: USD for one of the unit; None where `prices.yaml` has the price.
        max_units: The most units of one call. Without it, and without a reserve of the unit in
            `prices.yaml`, a call has no bound, and is refused where there is a budget.
        call_id: The function's parameter that holds the id which the model gave this call; it
            goes on the span.

    Returns:
        A function of the same kind and signature.

    Raises:
        TypeError: It is no function, or an argument is of the wrong type.
        ValueError: An argument is wrong; the text says what is expected.
    """

    def decorate(decorated: Callable[..., object]) -> Callable[..., object]:
        if isinstance(decorated, type | staticmethod | classmethod) or not callable(decorated):
            raise TypeError(
                "@tool decorates a function; put it under @staticmethod and @classmethod"
            )
        named = getattr(decorated, "__name__", None) if name is None else name
        if named is None:
            raise ValueError("@tool: this has no name of its own; give it one, name='search' say")
        declared = declare(named, cost=cost, unit=unit, price=price, max_units=max_units)
        return _wrap(decorated, declared, _finder(decorated, call_id))

    return decorate if function is None else decorate(function)


class FunctionCall(ToolCall):
    """A call of a decorated function."""

    def __init__(self, declared: Declared, spans: SpanEmitter, call_id: object) -> None:
        super().__init__(declared.request, spans, declared.unit)
        self._call_id = call_id

    def shape(self) -> tuple[str, SpanKind, dict[str, AttributeValue]]:
        """Return the start of its span."""
        name, kind, attributes = super().shape()
        if self._call_id is not None:
            attributes[semconv.GEN_AI_TOOL_CALL_ID] = str(self._call_id)
        return name, kind, attributes


class GeneratorCall(FunctionCall):
    """A call of a decorated generator."""

    def stream(self, request: Request, result: object, asked: object) -> StreamReader:  # noqa: ARG002 - the protocol's
        """Say that it is still to come."""
        return GeneratorReader(self)


_Finder = Callable[[tuple[Any, ...], dict[str, Any]], object]


def _no_id(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:  # noqa: ARG001 - as its others
    return None


def _finder(function: Callable[..., object], parameter: str | None) -> _Finder:
    """Return what finds the model's id of a call among the arguments."""
    if parameter is None:
        return _no_id
    names = list(inspect.signature(function).parameters)
    if parameter not in names:
        raise ValueError(f"@tool: call_id is {parameter!r}, and there is no such parameter")
    index = names.index(parameter)

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        found: object = kwargs.get(parameter)
        return args[index] if found is None and index < len(args) else found

    return find


def _wrap(
    function: Callable[..., Any], declared: Declared, call_id: _Finder
) -> Callable[..., object]:
    """Wrap a function in one of its own kind."""
    made_of = _code_of(function)
    if inspect.isasyncgenfunction(made_of):
        return _wrap_async_generator(function, declared, call_id)
    if inspect.isgeneratorfunction(made_of):
        return _wrap_generator(function, declared, call_id)
    if inspect.iscoroutinefunction(made_of):
        return _wrap_async(function, declared, call_id)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        lifecycle = lifecycle_in_force()
        if lifecycle is None:
            return function(*args, **kwargs)
        call = FunctionCall(declared, lifecycle.spans, call_id(args, kwargs))

        def run(*args: Any, **kwargs: Any) -> object:
            token = current_tool.set(call)
            try:
                return function(*args, **kwargs)
            finally:
                current_tool.reset(token)

        return lifecycle.call(call, _never, call, run, args, kwargs)

    return wrapper


def _code_of(function: Any) -> Any:
    """Return what says the kind of a function; of an object that is called, its method."""
    is_function = inspect.isroutine(cast("object", function)) or hasattr(function, "func")
    return function if is_function else type(function).__call__


def _wrap_async(
    function: Callable[..., Any], declared: Declared, call_id: _Finder
) -> Callable[..., object]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> object:
        lifecycle = lifecycle_in_force()
        if lifecycle is None:
            return await function(*args, **kwargs)
        call = FunctionCall(declared, lifecycle.spans, call_id(args, kwargs))

        async def run(*args: Any, **kwargs: Any) -> object:
            token = current_tool.set(call)
            try:
                return await function(*args, **kwargs)
            finally:
                current_tool.reset(token)

        return await lifecycle.call_async(call, _never, call, run, args, kwargs)

    return wrapper


def _wrap_generator(
    function: Callable[..., Any], declared: Declared, call_id: _Finder
) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        lifecycle = lifecycle_in_force()
        if lifecycle is None:
            bare: Generator[object, object, object] = function(*args, **kwargs)
            return (yield from bare)
        call = GeneratorCall(declared, lifecycle.spans, call_id(args, kwargs))
        made: Any = lifecycle.call(call, Steps.of(lifecycle, call), call, function, args, kwargs)
        steps: Generator[object, object, object] = made  # where we failed: the bare generator
        return (yield from steps)

    return wrapper


def _wrap_async_generator(
    function: Callable[..., Any], declared: Declared, call_id: _Finder
) -> Callable[..., object]:
    async def start(*args: Any, **kwargs: Any) -> object:
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        lifecycle = lifecycle_in_force()
        if lifecycle is None:
            steps = AsyncSteps(function(*args, **kwargs))
        else:
            call = GeneratorCall(declared, lifecycle.spans, call_id(args, kwargs))
            opened = Steps.of(lifecycle, call)
            made = await lifecycle.call_async(call, opened, call, start, args, kwargs)
            steps = AsyncSteps(made)
        step: Any = steps.generator.__anext__()
        while True:
            try:
                value = await steps.take(step)
            except StopAsyncIteration:
                return
            sent: object = None
            thrown = Thrown()
            with thrown:
                sent = cast("object", (yield value))
            if thrown.error is None:
                step = steps.generator.asend(sent)
            elif isinstance(thrown.error, GeneratorExit):
                await steps.leave()
                raise thrown.error
            else:
                step = steps.generator.athrow(thrown.error)

    return wrapper


def _never(result: object, run: object, reader: object) -> object:  # noqa: ARG001 - a proxy's maker
    return result
