"""Calls that a provider accepts as jobs, and ends later.

What they hold is kept, and settled when somebody sees their end, in this process or another one of
the host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol

import msgspec

from tollspan import semconv
from tollspan.budget import CallSink, Closing, DeferredHold, is_asyncio
from tollspan.safety import Guard
from tollspan.usage import Outcome, OutcomeStatus, UsageEvent

from ._batch_files import FileNotes
from ._closings import closing_of
from ._run import Run
from ._shapes import Reading
from ._spans import SpanEmitter
from ._worker import Worker

_MOST_WAIT_SECONDS = 5.0


class JobSink(CallSink, Protocol):
    """Accounts for calls, jobs among them; see `JobCloser`."""

    def defer(self, deferred: DeferredHold) -> bool: ...
    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]: ...
    def settle(self, deferred: DeferredHold, closing: Closing) -> UsageEvent: ...


class JobEnd(msgspec.Struct, frozen=True):
    """What an answer says of a job's end.

    Attributes:
        job_id: The job.
        read: Says what one of its calls used; None where this does not say it.
    """

    job_id: str
    read: Callable[[DeferredHold], Reading | None]


class JobDesk:
    """Accounts for jobs, for one process.

    Args:
        sink: Keeps what they hold, and settles it.
        spans: Ends the spans of calls that could not be kept.
        worker: Does what an event loop must not.
        tell: Is told of the event of each job that was seen to end.
        files: What is known of files at providers.

    Attributes:
        files: The same.
    """

    def __init__(
        self,
        sink: JobSink,
        spans: SpanEmitter,
        worker: Worker,
        tell: Callable[[UsageEvent], None],
        files: FileNotes,
    ) -> None:
        self.files = files
        self._sink = sink
        self._spans = spans
        self._worker = worker
        self._tell = tell
        self._guard = Guard("instrumentation.jobs")

    def accept(
        self, run: Run, reading: Reading, job_id: str, part: int = 0, lines: tuple[str, ...] = ()
    ) -> None:
        """Keep what a call holds, now that it is a job; on an event loop, in the worker.

        Args:
            run: The call.
            reading: What its answer says.
            job_id: The job's name at the provider.
            part: Numbers the calls that are one job together.
            lines: Names of the job's requests that the call stands for; empty for all.
        """
        if is_asyncio():
            self._worker.do(lambda: self._accept(run, reading, job_id, part, lines))
        else:
            self._accept(run, reading, job_id, part, lines)

    def see(self, provider: str, end: JobEnd) -> None:
        """Settle the calls of a job that has ended, where this host has them; never raises."""
        with self._guard:
            self._settle(provider, end)

    async def see_async(self, provider: str, end: JobEnd) -> None:
        """Do as `see` does, without blocking the event loop: after what was accepted before."""
        if not is_asyncio():
            self.see(provider, end)
            return
        seen: Future[None] = Future()

        def see() -> None:
            try:
                self.see(provider, end)
            finally:
                seen.set_result(None)

        self._worker.do(see)
        with self._guard:
            await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(seen)), timeout=_MOST_WAIT_SECONDS
            )

    def _accept(
        self, run: Run, reading: Reading, job_id: str, part: int, lines: tuple[str, ...]
    ) -> None:
        is_kept = False
        with self._guard:
            is_kept = self._sink.defer(_deferred(run, job_id, part, lines))
            if is_kept:
                if run.decision.on_end is not None:
                    run.decision.on_end()
                _end_span(run, reading, job_id)
        if not is_kept:
            with self._guard:
                self._spans.end(run, self._sink.close(closing_of(run, reading, "ok")))

    def _settle(self, provider: str, end: JobEnd) -> None:
        for deferred in self._sink.deferred(provider, end.job_id):
            reading = end.read(deferred)
            if reading is None:
                continue
            outcome = Outcome(
                status=_status(reading), error_type=reading.error_type, response=reading.response
            )
            if reading.calls is not None:
                deferred = _counted(deferred, reading.calls)  # noqa: PLW2901 - the same, known now
            closing = deferred.closing(reading.usage, outcome, is_incomplete=reading.is_incomplete)
            event = self._sink.settle(deferred, closing)
            self._worker.do(partial(self._tell, event))


def _deferred(run: Run, job_id: str, part: int, lines: tuple[str, ...]) -> DeferredHold:
    flight, span = run.flight, run.span
    return DeferredHold(
        provider=flight.call.request.provider,
        job_id=job_id,
        part=part,
        call=flight.call,
        note=run.decision.note,
        hold=run.decision.hold,
        traceparent=(span.traceparent if span is not None else None) or flight.traceparent,
        deferred_at_unix_ns=time.time_ns(),
        attempts=flight.retries + 1,
        maybe_billed_attempts=flight.maybe_billed,
        lines=lines,
    )


def _counted(deferred: DeferredHold, calls: int) -> DeferredHold:
    """Say of how many requests a call is, of which that was not known."""
    request = msgspec.structs.replace(deferred.call.request, calls=calls)
    call = msgspec.structs.replace(deferred.call, request=request)
    return msgspec.structs.replace(deferred, call=call)


def _status(reading: Reading) -> OutcomeStatus:
    if reading.error_type is not None:
        return "error"
    return "cancelled" if "cancelled" in reading.response.finish_reasons else "ok"


def _end_span(run: Run, reading: Reading, job_id: str) -> None:
    """End the span of the call: what it costs, nobody can know yet."""
    of_call = run.span
    if of_call is None:
        return
    attributes: dict[str, str] = {semconv.TOLLSPAN_JOB_ID: job_id}
    response = reading.response
    if response.id is not None:
        attributes[semconv.GEN_AI_RESPONSE_ID] = response.id
    if response.model is not None:
        attributes[semconv.GEN_AI_RESPONSE_MODEL] = response.model
    of_call.span.set_attributes(attributes)
    if of_call.is_ours:
        of_call.span.end()
