"""Answers of calls that became jobs; their streams may break off while the job goes on."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tollspan.usage import OutcomeStatus

from ._call import Lifecycle
from ._jobs import JobDesk
from ._run import Run
from ._shapes import Attached, Ending, Reading, StreamReader
from ._stream import Watch


def is_open(reading: Reading) -> bool:
    """Say of an answer whether its job goes on: it has a name, and was not said to have ended."""
    response = reading.response
    return response.id is not None and not response.finish_reasons and reading.error_type is None


class AcceptedJob(Attached):
    """An answer that says that the call was accepted as a job.

    Args:
        desk: Keeps what the call holds.
        lifecycle: Has the call among those that have no end yet.
        reading: What the answer says.
        part: Numbers the calls that are one job together.
        lines: Names of the job's requests that the call stands for; empty for all.
    """

    sign = ""
    look_at = 0

    def __init__(
        self,
        desk: JobDesk,
        lifecycle: Lifecycle,
        reading: Reading,
        part: int = 0,
        lines: tuple[str, ...] = (),
    ) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._reading = reading
        self._part = part
        self._lines = lines
        self.kept: list[object] = []
        self.first_chunk_at_ns: int | None = None

    def attach(self, result: object, watch: Watch) -> object:
        """Keep what the call holds for its job; the program gets its answer."""
        run = watch.run
        if self._lifecycle.open_streams.pop(run.call.id, None) is not None:
            job_id = self._reading.response.id or ""
            self._desk.accept(run, self._reading, job_id, self._part, self._lines)
        return result

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - the protocol's
        """Hide nothing."""
        return False

    def is_whole(self) -> bool:
        """Say that there is no more to come of this answer."""
        return True

    def read(self) -> Reading:
        """Say what the answer says."""
        return self._reading


class JobStream(Ending):
    """A stream of a job's events: when it breaks off, the job goes on.

    Args:
        desk: Keeps what the call holds.
        lifecycle: Has the call among those that have no end yet.
        inner: Reads the stream.
        proxy: Makes the object that the caller gets in place of the stream.
    """

    sign = ""
    look_at = 0

    def __init__(
        self,
        desk: JobDesk,
        lifecycle: Lifecycle,
        inner: StreamReader,
        proxy: Callable[[Any, Watch], object],
    ) -> None:
        self._desk = desk
        self._lifecycle = lifecycle
        self._inner = inner
        self._proxy = proxy
        self._watch: Callable[[], JobWatch | None] = lambda: None
        self.kept: list[object] = []
        self.first_chunk_at_ns: int | None = None

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - the protocol's
        """Hide nothing: the stream's own reader is shown what passes."""
        return False

    def attach(self, result: object, watch: Watch) -> object:
        """Watch the stream, and what becomes of the job if it breaks off."""
        ours = JobWatch(self._desk, self._lifecycle, watch, self._inner)
        self._watch = weakref.ref(ours)
        if isinstance(self._inner, Attached):
            return self._inner.attach(result, ours)
        return self._proxy(result, ours)

    def finish(self) -> None:
        """Account for the end of the stream: the interpreter is going to end."""
        watch = self._watch()
        if watch is not None:
            watch.finish("partial")

    def is_whole(self) -> bool:
        """Say whether the provider has said everything."""
        return self._inner.is_whole()

    def read(self) -> Reading:
        """Say what the events said."""
        return self._inner.read()


class JobWatch(Watch):
    """Sees a stream of a job's events end: where the job has not, what it holds is kept."""

    __slots__ = ("__weakref__", "_desk", "_life", "_plain")

    def __init__(
        self, desk: JobDesk, lifecycle: Lifecycle, watch: Watch, reader: StreamReader
    ) -> None:
        super().__init__(lifecycle, watch.run, reader, watch.source)
        self._desk = desk
        self._life = lifecycle
        self._plain = watch  # which takes the stream for abandoned when it goes: after this one

    def finish(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now."""
        if not self._goes_on():
            super().finish(status, error)

    async def finish_async(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end now, without blocking the event loop."""
        if not self._goes_on():
            await super().finish_async(status, error)

    def finish_soon(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Account for the end in the worker."""
        self._life.worker.put(lambda: self.finish(status, error))

    def __del__(self) -> None:
        if self.run.call.id in self._life.open_streams:
            self.finish_soon("partial")

    def _goes_on(self) -> bool:
        """Keep what the call holds, once, if its job has not ended; say whether it has not."""
        run: Run = self.run
        if run.call.id not in self._life.open_streams:
            return False
        reading = self.reader.read()
        if not is_open(reading) or self._life.open_streams.pop(run.call.id, None) is None:
            return False
        self._desk.accept(run, reading, reading.response.id or "")
        return True
