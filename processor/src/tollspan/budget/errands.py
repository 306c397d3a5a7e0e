"""A few daemon threads that do what callers must not wait for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from tollspan.safety import Guard

_MOST_THREADS = 4


class Errands:
    """Runs functions soon, each once, up to four at a time. Threads start when they are needed."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._guard = Guard("budget.errands")

    def run(self, errand: Callable[[], None]) -> None:
        """Have a function run soon; in this thread where no other is to be had."""
        self._queue.put(errand)
        if not self._idle.acquire(blocking=False):
            self._add_thread()

    def end(self, wait_seconds: float) -> None:
        """Let the threads do what is queued and end; what comes later starts new ones."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        ends_at = time.monotonic() + wait_seconds
        for thread in threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _add_thread(self) -> None:
        with self._lock:
            if len(self._threads) >= _MOST_THREADS:
                return
            thread = threading.Thread(target=self._work, name="tollspan-leases", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had, or the interpreter ends
                if self._threads:
                    return
            else:
                self._threads.append(thread)
                return
        self._do(self._queue.get())

    def _work(self) -> None:
        while True:
            errand = self._queue.get()
            if errand is None:
                return
            self._do(errand)
            self._idle.release()

    def _do(self, errand: Callable[[], None] | None) -> None:
        with self._guard:
            if errand is not None:
                errand()
