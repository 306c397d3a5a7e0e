"""Who wants to hear of calls: a program's own functions, called in a thread of their own.

They run after the fact, outside every lock, one after the other; what they raise is logged, and
where they are too slow for what happens, what they miss.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from tollspan.safety import LastGuard, report
from tollspan.usage import CallDeniedError, TollspanError, UsageEvent

from ._warning_log import AnyWarning
from ._worker import Worker

_Function = TypeVar("_Function", bound=Callable[..., object])
_Listener = tuple[Callable[..., object], asyncio.AbstractEventLoop | None]
_LONGEST_SECONDS = 30.0
_MOST_WAITING = 10_000


class CallbackTooSlowError(TollspanError):
    """So many events wait for the program's functions that this one is left out."""


class Listeners:
    """Keeps a program's functions, and calls them in a thread of its own."""

    def __init__(self) -> None:
        self.worker = Worker(name="tollspan-callbacks")
        self._usage: tuple[_Listener, ...] = ()
        self._deny: tuple[_Listener, ...] = ()
        self._warn: tuple[_Listener, ...] = ()

    def on_usage(self, function: _Function) -> _Function:
        """Call a function with the `UsageEvent` of each call that was made, once it is stored.

        Works as a decorator too, and before or after `install`. An `async` function runs in the
        event loop that runs here now, else in a loop of its own.
        """
        self._usage = (*self._usage, _with_loop(function))
        return function

    def on_deny(self, function: _Function) -> _Function:
        """Call a function with the `CallDeniedError` of each refused call; see `on_usage`."""
        self._deny = (*self._deny, _with_loop(function))
        return function

    def on_warn(self, function: _Function) -> _Function:
        """Call a function with each warning; see `on_usage`.

        It is a `BudgetWarning`, a `PolicyWarning`, an `OverrunWarning` or an `UnresolvedWarning`.
        """
        self._warn = (*self._warn, _with_loop(function))
        return function

    def remove(self, function: Callable[..., object]) -> None:
        """Call a function no more; one that is not there is no error."""
        self._usage = tuple([each for each in self._usage if each[0] != function])
        self._deny = tuple([each for each in self._deny if each[0] != function])
        self._warn = tuple([each for each in self._warn if each[0] != function])

    def usage(self, event: UsageEvent) -> None:
        """Pass a finished call on."""
        self._call(self._usage, event)

    def deny(self, denial: CallDeniedError) -> None:
        """Pass a refusal on."""
        self._call(self._deny, denial)

    def warn(self, warning: AnyWarning) -> None:
        """Pass a warning on."""
        self._call(self._warn, warning)

    def forget(self) -> None:
        """Start anew in a forked child, where no loop of the parent runs."""
        self.worker.forget()
        self._usage, self._deny, self._warn = (
            tuple([(function, None) for function, _ in each])
            for each in (self._usage, self._deny, self._warn)
        )

    def _call(self, listeners: tuple[_Listener, ...], value: object) -> None:
        for function, loop in listeners:
            if self.worker.waiting >= _MOST_WAITING:
                report(_place(function), CallbackTooSlowError(f"{_MOST_WAITING} events wait"))
            else:
                self.worker.do(partial(self._run, function, loop, value))

    def _run(
        self, function: Callable[..., object], loop: asyncio.AbstractEventLoop | None, value: object
    ) -> None:
        place = _place(function)
        with LastGuard(place):
            result = function(value)
            if not inspect.isawaitable(result):
                return
            here = _running_loop()
            runs = loop if loop is not None and loop.is_running() else here
            if runs is None:
                asyncio.run(_wait_for(result, place))
                return
            told = asyncio.run_coroutine_threadsafe(_wait_for(result, place), runs)
            if here is None:  # else there is no thread of ours, and a loop can't wait for itself
                told.result(_LONGEST_SECONDS)


async def _wait_for(result: Awaitable[Any], place: str) -> None:
    with LastGuard(place):  # in the program's loop, an exit would end the program
        await result


def _place(function: Callable[..., object]) -> str:
    """Name a function by what it is called alone: what is bound to it may be anything."""
    name = getattr(function, "__qualname__", None)
    return f"the callback {name if isinstance(name, str) else type(function).__qualname__}"


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _with_loop(function: Callable[..., object]) -> _Listener:
    return function, _running_loop()


LISTENERS = Listeners()
"""The listeners of this process; `install` connects them."""
