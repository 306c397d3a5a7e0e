"""A thread for what callers must not do: finalisers only enqueue, metrics are recorded here."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from tollspan.safety import LastGuard

Job = Callable[[], None]
_TICK_SECONDS = 1.0


class Worker:
    """Runs jobs one after the other in a daemon thread; starts with the first `start`.

    Args:
        tick: Called about once a second while the thread runs.
        name: The thread's.

    Attributes:
        thread: None while nothing runs: then `start` is due.
    """

    def __init__(self, tick: Job | None = None, *, name: str = "tollspan-worker") -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._tick = tick
        self._guard = LastGuard("instrumentation.worker")

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._jobs.qsize()

    def put(self, job: Job) -> None:
        """Hand a job over. Takes no lock: finalisers may call it."""
        self._jobs.put(job)

    def do(self, job: Job) -> None:
        """Hand a job over and see that a thread does it; not for finalisers."""
        self.put(job)
        self.start()

    def start(self) -> None:
        """Start the thread if it does not run; not for finalisers."""
        while self.thread is None and self._starting.acquire(blocking=False):
            try:
                self._start_or_do_queued()
            finally:
                self._starting.release()
            if self._jobs.empty():
                return

    def _start_or_do_queued(self) -> None:
        """Start the thread; where there is none to be had, do what is queued here and now."""
        if self.thread is not None:
            return
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had, or, from Python 3.12 on, the interpreter ends
            self._do_queued()
        else:
            self.thread = thread

    def drain(self, wait_seconds: float) -> None:
        """Do what is queued, and end the thread; it starts again when it is needed."""
        thread = self.thread
        if thread is threading.current_thread():
            return
        if thread is not None and thread.is_alive():
            # It stays the worker until it has ended: a job that calls `start` must not start
            # another one, which would take the end that is meant for this one.
            self._jobs.put(None)
            thread.join(wait_seconds)
            if thread.is_alive():
                return
        self.thread = None
        self._do_queued()

    def forget(self) -> None:
        """Start anew in a forked child: the parent's jobs are the parent's."""
        self._jobs = queue.SimpleQueue()
        self.thread = None
        self._starting = threading.Lock()

    def _run(self) -> None:
        try:
            self._work()
        finally:  # however it ends, the next `start` is to start another
            self.thread = None

    def _work(self) -> None:
        ticked_at = time.monotonic()
        while True:
            try:
                job = self._jobs.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                pass
            else:
                if job is None:
                    return
                with self._guard:
                    job()
            # By the clock, not by idleness: a busy program's rules are watched too.
            if self._tick is not None and time.monotonic() - ticked_at >= _TICK_SECONDS:
                ticked_at = time.monotonic()
                with self._guard:
                    self._tick()

    def _do_queued(self) -> None:
        with contextlib.suppress(queue.Empty):  # another thread may be at it too
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    with self._guard:
                        job()
