"""The shared authority in memory: what each authority for many hosts does, in its plainest form.

For tests and simulations of many hosts in one process; other shared authorities are compared to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Final

from tollspan.usage import new_call_id

from .leases import LeaseSettings
from .shared_deciding import StateAuthority
from .shared_state import State

_DEFAULTS: Final = LeaseSettings()


class MemoryAuthority(StateAuthority):
    """A shared authority in one process's memory. Safe for threads.

    Args:
        settings: The life of leases and the horizon.
        clock: Unix time in nanoseconds.
        new_name: Names an epoch that is opened at a time: later ones sort behind.
    """

    _state: State

    def __init__(
        self,
        settings: LeaseSettings = _DEFAULTS,
        *,
        clock: Callable[[], int] = time.time_ns,
        new_name: Callable[[int], str] = new_call_id,
    ) -> None:
        super().__init__(State(), threading.RLock(), settings, clock=clock, new_name=new_name)

    def backup(self) -> State:
        """Return a copy of all that it knows."""
        with self._lock:
            return deepcopy(self._state)

    def restore(self, backup: State) -> None:
        """Forget everything that happened since a backup was made."""
        with self._lock:
            self._state = deepcopy(backup)
