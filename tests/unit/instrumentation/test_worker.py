"""The worker does everything that it was handed, and ends when it is told to."""

from __future__ import annotations

import threading
import time

import pytest

from tollspan.instrumentation import Worker


def test_a_last_job_that_starts_the_worker_again_does_not_delay_its_end() -> None:
    worker = Worker()
    is_draining = threading.Event()
    done: list[str] = []

    def last() -> None:
        is_draining.wait(5)
        time.sleep(0.005)  # the drain waits for this thread by now
        worker.put(lambda: done.append("handed over by the last job"))
        worker.start()

    worker.start()
    worker.put(last)
    is_draining.set()
    began = time.monotonic()
    worker.drain(5)
    assert time.monotonic() - began < 2
    assert done == ["handed over by the last job"]


def test_a_drained_worker_can_be_started_again() -> None:
    worker = Worker()
    done: list[int] = []
    for _ in range(3):
        worker.start()
        worker.put(lambda: done.append(len(done)))
        worker.drain(5)
    assert done == [0, 1, 2]


def test_jobs_that_no_thread_has_taken_are_done_by_the_drain() -> None:
    worker = Worker()
    done: list[int] = []
    worker.put(lambda: done.append(1))
    worker.drain(5)
    assert done == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_job_that_ends_the_thread_does_not_end_the_worker(error: type[BaseException]) -> None:
    worker = Worker()
    done = threading.Event()

    def ends() -> None:
        raise error

    worker.put(ends)
    worker.start()
    thread = worker.thread
    if thread is not None:
        thread.join(5)
    worker.do(done.set)
    is_done = done.wait(2)
    worker.drain(5)
    assert is_done
