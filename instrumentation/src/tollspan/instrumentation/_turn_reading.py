"""Has the last turn of each call noted before the gate is asked, while some policy wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tollspan.budget import fingerprint, note_turn
from tollspan.safety import Guard
from tollspan.usage import Request

from ._call import Lifecycle
from ._run import Extractor, Kwargs, Run, StreamProxies
from ._tool_call import ToolCall

_guard = Guard("instrumentation.turns")


def read_turns(lifecycle: Lifecycle, *, is_wanted: bool) -> None:
    """Have a life cycle note the last turns of its calls from now on, or no more.

    It is made one of another class: whoever holds it goes on holding it, and while nobody wants to
    know, no call executes one instruction for it.
    """
    lifecycle.__class__ = _TurnReading if is_wanted else Lifecycle


class _TurnReading(Lifecycle):
    """A life cycle that notes the last turn of each call.

    It names the methods that it extends: another thread may have made it a plain one meanwhile.
    """

    def call(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        asked: Any,
        wrapped: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one synchronous call; a tool's may see its arguments."""
        if isinstance(asked, ToolCall):
            asked.given = (args, kwargs)
        return Lifecycle.call(self, extractor, proxies, asked, wrapped, args, kwargs)

    async def call_async(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        asked: Any,
        wrapped: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one asynchronous call; a tool's may see its arguments."""
        if isinstance(asked, ToolCall):
            asked.given = (args, kwargs)
        return await Lifecycle.call_async(self, extractor, proxies, asked, wrapped, args, kwargs)

    def _new_run(self, request: Request, extractor: Extractor, asked: object) -> Run:
        run = Lifecycle._new_run(self, request, extractor, asked)  # noqa: SLF001 - its own base's
        with _guard:
            parts = extractor.turn(asked)
            turn = None if parts is None else fingerprint((request.model, *parts))
            note_turn(run.call.id, turn)
        return run
