"""A thread for what callers must not do: finalisers only enqueue, metrics are recorded here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from tollspan.safety import Guard

Job = Callable[[], None]
_TICK_SECONDS = 1.0


class Worker:
    """Runs jobs one after the other in a daemon thread; starts with the first `start`.

    Args:
        tick: Called about once a second while the thread runs.
    """

    def __init__(self, tick: Job | None = None) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._tick = tick
        self._guard = Guard("instrumentation.worker")

    def put(self, job: Job) -> None:
        """Hand a job over. Takes no lock: finalisers may call it."""
        self._jobs.put(job)

    def start(self) -> None:
        """Start the thread if it does not run; not for finalisers."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tollspan-worker", daemon=True)
            self._thread.start()

    def drain(self, wait_seconds: float) -> None:
        """Do what is queued, and end the thread; it starts again when it is needed."""
        thread, self._thread = self._thread, None
        if thread is None or not thread.is_alive():
            self._do_queued()
            return
        if thread is threading.current_thread():
            return
        self._jobs.put(None)
        thread.join(wait_seconds)

    def forget(self) -> None:
        """Start anew in a forked child: the parent's jobs are the parent's."""
        self._jobs = queue.SimpleQueue()
        self._thread = None

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                job = self._tick
                if job is None:
                    continue
            if job is None:
                return
            with self._guard:
                job()

    def _do_queued(self) -> None:
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                with self._guard:
                    job()
