"""A thread beside the server: ends what others have left, and keeps periods up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from tollspan.ledger.central import CentralLedger
from tollspan.server.gates import TenantGates
from tollspan.usage import TollspanError

from .settling import CallEnds

_log = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 1.0
_FINISH_EVERY_SECONDS: Final = 5.0
_LOG_EVERY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_KEPT_NS: Final = 37 * 86_400 * 1_000_000_000
"""Longer than events are taken: then nothing can be said of a call any more."""
_FORGOTTEN_AT_ONCE: Final = 500


class CallKeeper:
    """Keeps house for the calls that ask over HTTP, until it is closed.

    Args:
        ledger: Has the calls.
        ends: Ends those that were left.
        gates: Are told each second.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        ends: CallEnds,
        gates: TenantGates,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._calls = ledger.held_calls
        self._ends = ends
        self._gates = gates
        self._clock = clock
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tollspan-calls", daemon=True)
        self._logged_at = -_LOG_EVERY_SECONDS

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End after what is being done."""
        self._is_closing.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        finished_at = 0.0
        while not self._is_closing.wait(_EVERY_SECONDS):
            self._try(self._gates.tick)
            if time.monotonic() - finished_at >= _FINISH_EVERY_SECONDS:
                finished_at = time.monotonic()
                self._try(self._finish)

    def _finish(self) -> None:
        self._ends.finish_some()
        self._calls.forget(self._clock() - _KEPT_NS, _FORGOTTEN_AT_ONCE)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except TollspanError as error:  # what is left is done the next time
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at = now
                _log.warning("calls that asked over HTTP can't be kept up to date: %s", error)
