"""Who wants to hear of calls: a program's own functions, called in a thread of their own.

They run after the fact, outside every lock, one after the other; what they raise is logged.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from tollspan.budget import BudgetWarning
from tollspan.safety import GuardOfOthers
from tollspan.usage import CallDeniedError, UsageEvent

from ._worker import Worker

_Function = TypeVar("_Function", bound=Callable[..., object])
_Listener = tuple[Callable[..., object], asyncio.AbstractEventLoop | None]
_LONGEST_SECONDS = 30.0


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
        """Call a function with each `BudgetWarning`; see `on_usage`."""
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

    def warn(self, warning: BudgetWarning) -> None:
        """Pass a warning on."""
        self._call(self._warn, warning)

    def _call(self, listeners: tuple[_Listener, ...], value: object) -> None:
        for function, loop in listeners:
            self.worker.do(partial(self._run, function, loop, value))

    def _run(
        self, function: Callable[..., object], loop: asyncio.AbstractEventLoop | None, value: object
    ) -> None:
        with GuardOfOthers(f"the callback {getattr(function, '__qualname__', function)!s}"):
            result = function(value)
            if not inspect.isawaitable(result):
                return
            if loop is not None and loop.is_running():
                asyncio.run_coroutine_threadsafe(_wait_for(result), loop).result(_LONGEST_SECONDS)
            else:
                asyncio.run(_wait_for(result))


async def _wait_for(result: Awaitable[Any]) -> None:
    await result


def _with_loop(function: Callable[..., object]) -> _Listener:
    try:
        return function, asyncio.get_running_loop()
    except RuntimeError:
        return function, None


LISTENERS = Listeners()
"""The listeners of this process; `install` connects them."""
