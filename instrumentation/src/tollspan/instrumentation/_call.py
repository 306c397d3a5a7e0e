"""The life of one call: ask the gate, start the span, let the call happen, account for its end.

Providers bring an `Extractor`; everything that is the same for all of them is here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
from opentelemetry.context import attach, detach

from tollspan.attribution import CallInFlight, current_call
from tollspan.budget import AttributionSource, CallSink, Closing, Decision, Gate
from tollspan.safety import Guard
from tollspan.usage import (
    Call,
    DecisionEvent,
    DecisionNote,
    Outcome,
    OutcomeStatus,
    Request,
    Response,
    Usage,
    UsageEvent,
    new_call_id,
)

from ._spans import CallSpan, SpanEmitter
from ._worker import Worker

Kwargs = dict[str, object]


class Reading(msgspec.Struct, frozen=True):
    """What a provider's answer says.

    Attributes:
        usage: What was used, `unknown` where it does not say.
        response: What it says of itself.
        is_incomplete: More may have been used than the usage says.
    """

    usage: Usage
    response: Response
    is_incomplete: bool = False


class Failure(msgspec.Struct, frozen=True):
    """What an exception says of a call: how it ended, and whether it may have been billed."""

    status: OutcomeStatus
    error_type: str
    is_maybe_billed: bool


class StreamReader(Protocol):
    """Reads a stream's chunks as they pass; nothing here may raise.

    Whoever passes chunks on appends each to `kept`. Only a chunk that has something in its member
    `sign`, and the one that makes `kept` as long as `look_at`, is shown to `look`: the others cost
    no call.

    Attributes:
        kept: The chunks that nobody has read yet; always the same list.
        sign: Name of the member that makes a chunk worth a look, when it is not None.
        look_at: Length of `kept` at which a look is due.
        first_chunk_at_ns: When the first chunk came, by `perf_counter_ns`.
    """

    kept: list[object]
    sign: str
    look_at: int
    first_chunk_at_ns: int | None

    def source(self, stream: object) -> Any:
        """Return what gives the stream's chunks one by one: itself, or what it has inside."""
        ...

    def look(self, chunk: object) -> bool:
        """Take note of a chunk that was kept; True when it must be hidden from the caller."""
        ...

    def read(self) -> Reading:
        """Say what the chunks said: reported if the provider did, estimated if not."""
        ...


class Extractor(Protocol):
    """Reads one API shape: pure functions on the SDK's objects."""

    def request(self, instance: object, kwargs: Mapping[str, object]) -> Request | None:
        """Read what is asked; None when it can't be a billable call (the SDK will say why)."""
        ...

    def arguments(self, request: Request, kwargs: Kwargs) -> Kwargs:
        """Return the arguments to call with, changed where metering needs it; never in place."""
        ...

    def again(self, error: Exception, kwargs: Kwargs) -> Kwargs | None:
        """Return the caller's own arguments when the provider refused what we had put in."""
        ...

    def result(self, result: object) -> Reading:
        """Read a whole answer."""
        ...

    def stream(self, request: Request, result: object, kwargs: Kwargs) -> StreamReader | None:
        """Return a reader when a stream was asked for and the result is one, else None."""
        ...

    def failure(self, error: BaseException, *, is_sent: bool) -> Failure:
        """Read an exception."""
        ...


_UNDECIDED = Decision(note=DecisionNote())
_OUR_FAILURE = Decision(note=DecisionNote(is_unavailable=True))
_UNREAD = Reading(Usage(status="unknown"), Response())


class Run(msgspec.Struct):
    """One call on its way: what has to be known to account for its end."""

    call: Call
    flight: CallInFlight
    extractor: Extractor
    started_at_ns: int
    decision: Decision = _UNDECIDED
    span: CallSpan | None = None


StreamProxies = Callable[[object, Run, StreamReader], object]
"""Makes the object that a caller gets in place of a stream."""


class Lifecycle:
    """Takes calls through their life, for one process."""

    def __init__(
        self,
        *,
        gate: Gate,
        sink: CallSink,
        note: Callable[[DecisionEvent], None],
        attribution: AttributionSource,
        spans: SpanEmitter,
        worker: Worker,
    ) -> None:
        self._gate = gate
        self._sink = sink
        self._note = note
        self._attribution = attribution
        self._spans = spans
        self.worker = worker
        self.open_streams: dict[str, tuple[Run, StreamReader]] = {}
        self._before = Guard("instrumentation.before")
        self._after = Guard("instrumentation.after")

    # -- synchronous --

    def call(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one synchronous call."""
        flight = current_call.get()
        if flight is not None and flight.is_on_its_way and not flight.is_sent:
            return wrapped(*args, **kwargs)
        run: Run | None = None
        try:
            with self._before:
                request = extractor.request(instance, kwargs)
                if request is not None:
                    run = self._new_run(request, extractor)
                    run.decision = self._gate.authorize(run.call)
                    kwargs = self._start(run, request, kwargs)
            if run is None:
                return wrapped(*args, **kwargs)
            if run.decision is _UNDECIDED:
                self._go_undecided(run)
            if run.decision.denial is not None:
                raise run.decision.denial
            result = self._perform(run, wrapped, args, kwargs)
        except BaseException as error:
            if run is not None and error is not run.decision.denial:
                with self._after:
                    self.fail(run, error)
            raise
        with self._after:
            reader = extractor.stream(run.call.request, result, kwargs)
            if reader is not None:
                self.open_streams[run.call.id] = (run, reader)
                self.worker.start()
                return proxies(result, run, reader)
            self.succeed(run, extractor.result(result))
            return result
        self._close_blindly(run, "ok")
        return result

    def _perform(
        self, run: Run, wrapped: Callable[..., object], args: tuple[object, ...], kwargs: Kwargs
    ) -> object:
        """Let the provider's method run, with the call and its span in the context."""
        flight = run.flight
        token = current_call.set(flight)
        span = run.span
        span_token = attach(span.context) if span is not None else None
        try:
            return wrapped(*args, **kwargs)
        except Exception as error:
            theirs = self._without_ours(run, error, kwargs)
            if theirs is not None:
                return wrapped(*args, **theirs)
            raise
        finally:
            flight.is_on_its_way = False
            if span_token is not None:
                detach(span_token)
            with contextlib.suppress(ValueError):  # closed by the collector, in another context
                current_call.reset(token)

    def _go_undecided(self, run: Run) -> None:
        """Let a call go on that our own failure left undecided, and meter it all the same."""
        self._gate.abandon(run.call.id)
        run.decision = _OUR_FAILURE

    def _without_ours(self, run: Run, error: Exception, kwargs: Kwargs) -> Kwargs | None:
        """Return what to call with once more, when it was our change that the provider refused."""
        theirs = None
        with self._after:
            theirs = run.extractor.again(error, kwargs)
        if theirs is not None:
            run.flight.retries += 1
        return theirs

    def succeed(self, run: Run, reading: Reading) -> None:
        """Account for a call that was answered."""
        closing = self._closing(run, reading, "ok")
        self._end(run, self._sink.close(closing))

    def fail(self, run: Run, error: BaseException) -> None:
        """Account for a call that raised before there was anything to read."""
        if run.decision is _UNDECIDED:
            self._gate.abandon(run.call.id)
            return
        with self._after:
            self._end(run, self._sink.close(self._failed(run, error)))
            return
        self._close_blindly(run, "error")

    # -- asynchronous --

    async def call_async(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one asynchronous call; nothing of ours blocks the event loop."""
        flight = current_call.get()
        if flight is not None and flight.is_on_its_way and not flight.is_sent:
            return await wrapped(*args, **kwargs)
        run: Run | None = None
        try:
            with self._before:
                request = extractor.request(instance, kwargs)
                if request is not None:
                    run = self._new_run(request, extractor)
                    run.decision = await self._gate.authorize_async(run.call)
                    kwargs = self._start(run, request, kwargs)
            if run is None:
                return await wrapped(*args, **kwargs)
            if run.decision is _UNDECIDED:
                self._go_undecided(run)
            if run.decision.denial is not None:
                raise run.decision.denial
            result = await self._perform_async(run, wrapped, args, kwargs)
        except BaseException as error:
            if run is not None and error is not run.decision.denial:
                with self._after:
                    await self.fail_async(run, error)
            raise
        with self._after:
            reader = extractor.stream(run.call.request, result, kwargs)
            if reader is not None:
                self.open_streams[run.call.id] = (run, reader)
                self.worker.start()
                return proxies(result, run, reader)
            closing = self._closing(run, extractor.result(result), "ok")
            self._end(run, await self._sink.close_async(closing))
            return result
        self._close_blindly_soon(run, "ok")
        return result

    async def _perform_async(
        self,
        run: Run,
        wrapped: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Await the provider's method, with the call and its span in the context."""
        flight = run.flight
        token = current_call.set(flight)
        span = run.span
        span_token = attach(span.context) if span is not None else None
        try:
            return await wrapped(*args, **kwargs)
        except Exception as error:
            theirs = self._without_ours(run, error, kwargs)
            if theirs is not None:
                return await wrapped(*args, **theirs)
            raise
        finally:
            flight.is_on_its_way = False
            if span_token is not None:
                detach(span_token)
            with contextlib.suppress(ValueError):  # closed by the collector, in another context
                current_call.reset(token)

    async def fail_async(self, run: Run, error: BaseException) -> None:
        """Account for a failed call; in the worker when the task is cancelled and must not wait."""
        if run.decision is _UNDECIDED:
            self._gate.abandon(run.call.id)
            return
        if isinstance(error, Exception):
            with self._after:
                closing = self._failed(run, error)
                self._end(run, await self._sink.close_async(closing))
                return
            self._close_blindly_soon(run, "error")
            return
        self.worker.put(lambda: self.fail(run, error))
        self.worker.start()

    # -- streams --

    def finish_stream(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once; later ends change nothing."""
        entry = self.open_streams.pop(run.call.id, None)
        if entry is not None:
            with self._after:
                closing = self._stream_closing(run, entry[1], status, error)
                self._end(run, self._sink.close(closing))
                return
            self._close_blindly(run, status)

    async def finish_stream_async(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once, without blocking the event loop."""
        entry = self.open_streams.pop(run.call.id, None)
        if entry is not None:
            with self._after:
                closing = self._stream_closing(run, entry[1], status, error)
                self._end(run, await self._sink.close_async(closing))
                return
            self._close_blindly_soon(run, status)

    def finish_stream_soon(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once, in the worker. Takes no lock."""
        self.worker.put(lambda: self.finish_stream(run, status, error))

    def finish_open_streams(self) -> None:
        """Account for every stream that is still open: the interpreter is going to end."""
        for run, _ in list(self.open_streams.values()):
            self.finish_stream(run, "partial")

    def forget_streams(self) -> None:
        """Drop what the parent has open: a forked child does not account for it."""
        self.open_streams.clear()

    # -- inside --

    def _new_run(self, request: Request, extractor: Extractor) -> Run:
        now = time.time_ns()
        call = Call(
            id=new_call_id(now),
            started_at_unix_ns=now,
            request=request,
            attribution=self._attribution(),
        )
        return Run(call, CallInFlight(call), extractor, time.perf_counter_ns())

    def _start(self, run: Run, request: Request, kwargs: Kwargs) -> Kwargs:
        """Start the span and prepare the arguments; or record the denial."""
        denial = run.decision.denial
        span = None
        with self._before:
            span = self._spans.start(run.call, run.decision)
        if denial is None:
            run.span = span
            return run.extractor.arguments(request, kwargs)
        self._note(
            DecisionEvent(
                call=run.call,
                decision=run.decision.note,
                error_type=denial.error_type,
                limit_nanousd=denial.limit_nanousd,
                spent_nanousd=denial.spent_nanousd,
                held_nanousd=denial.held_nanousd,
                traceparent=span.traceparent if span is not None else None,
            )
        )
        self._spans.deny(span, run.call, denial)
        return kwargs

    def _closing(
        self,
        run: Run,
        reading: Reading,
        status: OutcomeStatus,
        failure: Failure | None = None,
        first_chunk_at_ns: int | None = None,
    ) -> Closing:
        flight = run.flight
        started_at_ns = run.started_at_ns
        span = run.span
        return Closing(
            flight.call,
            run.decision,
            reading.usage,
            Outcome(
                status=status,
                duration_ns=time.perf_counter_ns() - started_at_ns,
                error_type=failure.error_type if failure is not None else None,
                attempts=flight.retries + 1,
                maybe_billed_attempts=flight.maybe_billed,
                first_chunk_ns=first_chunk_at_ns - started_at_ns if first_chunk_at_ns else None,
                response=reading.response,
            ),
            span.traceparent if span is not None else None,
            reading.is_incomplete,
        )

    def _failed(self, run: Run, error: BaseException) -> Closing:
        flight = run.flight
        failure = run.extractor.failure(error, is_sent=flight.is_sent)
        span = run.span
        if span is not None:
            span.error = error
        return Closing(
            flight.call,
            run.decision,
            Usage(status="unknown") if failure.is_maybe_billed else None,
            Outcome(
                status=failure.status,
                duration_ns=time.perf_counter_ns() - run.started_at_ns,
                error_type=failure.error_type,
                attempts=flight.retries + 1,
                maybe_billed_attempts=flight.maybe_billed,
            ),
            span.traceparent if span is not None else None,
        )

    def _stream_closing(
        self,
        run: Run,
        reader: StreamReader,
        status: OutcomeStatus,
        error: BaseException | None,
    ) -> Closing:
        failure = None
        if error is not None:
            failure = run.extractor.failure(error, is_sent=True)
            status = failure.status
            if run.span is not None:
                run.span.error = error
        return self._closing(run, reader.read(), status, failure, reader.first_chunk_at_ns)

    def _close_blindly(self, run: Run, status: OutcomeStatus) -> None:
        """Account for a call whose end we failed to read: usage unknown, its hold stays counted."""
        self.open_streams.pop(run.call.id, None)
        with self._after:
            self._end(run, self._sink.close(self._closing(run, _UNREAD, status)))

    def _close_blindly_soon(self, run: Run, status: OutcomeStatus) -> None:
        self.worker.put(lambda: self._close_blindly(run, status))
        self.worker.start()

    def _end(self, run: Run, event: UsageEvent) -> None:
        with self._after:
            self._spans.end(run.span, event)
