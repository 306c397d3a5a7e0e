"""Processes that end without the interpreter's own end, and so without `atexit`.

A forked child of `multiprocessing` ends by `os._exit`, one of Celery's pool too. What is stored is
stored; this is for what is not: open streams, the last metrics and spans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from tollspan.safety import Guard

_FIRST = 1000
"""Priority among a child's finalisers: those with the highest run first."""


class ChildEnds:
    """Has something done at the end of children that are started from now on.

    Args:
        end: What to do; once or twice, in the child.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._guard = Guard("launch.children")
        wrapt.register_post_import_hook(self._watch_multiprocessing, "multiprocessing.util")
        wrapt.register_post_import_hook(self._watch_celery, "celery.signals")

    def _watch_multiprocessing(self, util: Any) -> None:
        """Billiard, Celery's own kind of multiprocessing, uses the same registries."""

        def start(_: ChildEnds) -> None:
            util.Finalize(None, self._end, (), {}, _FIRST)

        with self._guard:
            # A child clears its finalisers as it starts, and then calls this.
            util.register_after_fork(self, start)

    def _watch_celery(self, signals: Any) -> None:
        with self._guard:
            # A pool's child says this signal and leaves, without any finaliser.
            signals.worker_process_shutdown.connect(self._end_of_pool_child, weak=False)

    def _end_of_pool_child(self, **_: object) -> None:
        self._end()
