"""The life of one call: ask the gate, start the span, let the call happen, account for its end.

Providers bring an `Extractor`; everything that is the same for all of them is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter_ns, time_ns

import msgspec
from opentelemetry.context import Context, attach, detach, get_current

from tollspan.attribution import BAGGAGE, CallInFlight, current_call, outbound
from tollspan.budget import REPORT, CallSink, Change, Closing, Decision, Gate, refused, unchanged
from tollspan.safety import Guard
from tollspan.usage import (
    Attribution,
    Call,
    CallDeniedError,
    DecisionEvent,
    OutcomeStatus,
    Request,
    UsageEvent,
    merge_attributions,
    new_call_id,
    refusal,
)

from ._closings import closing_of, failed_closing, stream_closing
from ._jobs import JobDesk
from ._run import FREE, OUR_FAILURE, UNDECIDED, Extractor, Kwargs, Run, StreamProxies
from ._shapes import UNREAD, Ending, Reading, StreamReader
from ._spans import SpanEmitter
from ._worker import Worker


class Lifecycle:
    """Takes calls through their life, for one process.

    Attributes:
        spans: Ends spans and records metrics; each instrumentor has one of its own to start them.
        worker: Does what callers must not.
        attribution: Captures who pays; may be another from now on.
        open_streams: By call id, what has no end yet.
        desk: Accounts for calls that become jobs; None where nobody does.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        sink: CallSink,
        note: Callable[[DecisionEvent], None],
        attribution: Callable[[Context], Attribution],
        spans: SpanEmitter,
        worker: Worker,
    ) -> None:
        self.gate = gate
        self._sink = sink
        self._note = note
        self.attribution = attribution
        self.spans = spans
        self.worker = worker
        self.open_streams: dict[str, tuple[Run, StreamReader]] = {}
        self.desk: JobDesk | None = None
        self._before = Guard("instrumentation.before")
        self._after = Guard("instrumentation.after")

    def remember(self, keep: Callable[[object, Run], None]) -> None:
        """From now on have answers kept together with their calls; each call costs more by that.

        Args:
            keep: Is given what the provider's method returned and its call; never raises.
        """
        perform, perform_async, end = self._perform, self._perform_async, self.spans.end

        def performing(
            run: Run, wrapped: Callable[..., object], args: tuple[object, ...], kwargs: Kwargs
        ) -> object:
            result = perform(run, wrapped, args, kwargs)
            keep(result, run)
            return result

        async def performing_async(
            run: Run,
            wrapped: Callable[..., Awaitable[object]],
            args: tuple[object, ...],
            kwargs: Kwargs,
        ) -> object:
            result = await perform_async(run, wrapped, args, kwargs)
            keep(result, run)
            return result

        def ending(run: Run, event: UsageEvent) -> None:
            if run.kept is not None:
                run.kept.event = event
            end(run, event)

        # Put over the methods, so that calls of programs that never ask have no step more.
        vars(self).update(_perform=performing, _perform_async=performing_async)
        vars(self.spans).update(end=ending)

    # -- synchronous --

    def call(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        asked: object,
        wrapped: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one synchronous call: `wrapped(*args, **kwargs)`, of which `asked` is our view."""
        run: Run | None = None
        try:
            with self._before:
                request = extractor.request(asked)
                run = self._new_run(request, extractor, asked)
                if extractor.is_free:
                    run.decision = FREE
                else:
                    run.decision = self.gate.authorize(run.call)
                    run.decided_at_ns = perf_counter_ns()
                self._start(run, request, extractor, asked)
            if run is None:
                return wrapped(*args, **kwargs)
            if run.decision.denial is not None:
                self._stop(run)
            result = self._perform(run, wrapped, args, kwargs)
        except BaseException as error:
            if run is not None and error is not run.decision.denial:
                with self._after:
                    self.fail(run, error)
                if run.decision.change is not None and self._goes_as_asked(run, error):
                    with suppress(CallDeniedError):  # the provider's own error says more
                        return self.call(extractor, proxies, asked, wrapped, args, kwargs)
            raise
        with self._after:
            reader = extractor.stream(run.call.request, result, asked)
            if reader is not None:
                self.open_streams[run.call.id] = (run, reader)
                self.worker.start()
                return proxies(result, run, reader)
            closing = closing_of(run, extractor.result(result), "ok")
            self.spans.end(run, self._sink.close(closing))
            return result
        self._close_blindly(run, "ok")
        return result

    def _perform(
        self, run: Run, wrapped: Callable[..., object], args: tuple[object, ...], kwargs: Kwargs
    ) -> object:
        """Let the provider's method run, with the call and its span in the context."""
        token = current_call.set(run.flight)
        context = run.context
        context_token = (
            attach(outbound(context) if BAGGAGE in context else context)
            if context is not None
            else None
        )
        try:
            return wrapped(*args, **kwargs)
        except Exception as error:
            if self._take_back(run, error):
                return wrapped(*args, **kwargs)
            raise
        finally:
            if context_token is not None:
                detach(context_token)
            try:  # noqa: SIM105 - `suppress` costs three Python calls here
                current_call.reset(token)
            except ValueError:
                pass  # closed by the collector, in another context

    def _stop(self, run: Run) -> None:
        """Raise the denial; one that our own failure left undecided goes on, and is metered."""
        denial = run.decision.denial
        if denial is not None and run.decision is not UNDECIDED:
            raise denial
        self.gate.abandon(run.call.id)
        run.decision = OUR_FAILURE

    def _take_back(self, run: Run, error: Exception) -> bool:
        """Say whether to send once more, without our change that the provider refused."""
        with self._after:
            if run.extractor.again(error, run.flight.asked):
                run.flight.retries += 1
                return True
        return False

    def _goes_as_asked(self, run: Run, error: BaseException) -> bool:
        """Say whether to call the model that was asked for: the other one is not to be had."""
        with self._after:
            return isinstance(error, Exception) and run.extractor.as_asked(error, run.flight.asked)
        return False

    def fail(self, run: Run, error: BaseException) -> None:
        """Account for a call that raised before there was anything to read."""
        if run.decision is UNDECIDED:
            self.gate.abandon(run.call.id)
            return
        with self._after:
            self.spans.end(run, self._sink.close(failed_closing(run, error)))
            return
        self._close_blindly(run, "error")

    # -- asynchronous --

    async def call_async(
        self,
        extractor: Extractor,
        proxies: StreamProxies,
        asked: object,
        wrapped: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        kwargs: Kwargs,
    ) -> object:
        """Make one asynchronous call; nothing of ours blocks the event loop."""
        run: Run | None = None
        try:
            with self._before:
                request = extractor.request(asked)
                run = self._new_run(request, extractor, asked)
                if extractor.is_free:
                    run.decision = FREE
                else:
                    run.decision = await self.gate.authorize_async(run.call)
                    run.decided_at_ns = perf_counter_ns()
                self._start(run, request, extractor, asked)
            if run is None:
                return await wrapped(*args, **kwargs)
            if run.decision.denial is not None:
                self._stop(run)
            result = await self._perform_async(run, wrapped, args, kwargs)
        except BaseException as error:
            if run is not None and error is not run.decision.denial:
                with self._after:
                    await self.fail_async(run, error)
                if run.decision.change is not None and self._goes_as_asked(run, error):
                    with suppress(CallDeniedError):  # the provider's own error says more
                        return await self.call_async(
                            extractor, proxies, asked, wrapped, args, kwargs
                        )
            raise
        with self._after:
            reader = extractor.stream(run.call.request, result, asked)
            if reader is not None:
                self.open_streams[run.call.id] = (run, reader)
                self.worker.start()
                return proxies(result, run, reader)
            await self._end_async(run, closing_of(run, extractor.result(result), "ok"))
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
        token = current_call.set(run.flight)
        context = run.context
        context_token = (
            attach(outbound(context) if BAGGAGE in context else context)
            if context is not None
            else None
        )
        try:
            return await wrapped(*args, **kwargs)
        except Exception as error:
            if self._take_back(run, error):
                return await wrapped(*args, **kwargs)
            raise
        finally:
            if context_token is not None:
                detach(context_token)
            try:  # noqa: SIM105 - `suppress` costs three Python calls here
                current_call.reset(token)
            except ValueError:
                pass  # closed by the collector, in another context

    async def fail_async(self, run: Run, error: BaseException) -> None:
        """Account for a failed call; in the worker when the task is cancelled and must not wait."""
        if run.decision is UNDECIDED:
            self.gate.abandon(run.call.id)
            return
        if not isinstance(error, Exception):
            self.worker.do(lambda: self.fail(run, error))
            return
        with self._after:
            await self._end_async(run, failed_closing(run, error))
            return
        self._close_blindly_soon(run, "error")

    # -- what was used already --

    def report(self, extractor: Extractor, request: Request, reading: Reading) -> None:
        """Account for what the program says it has used: posted at once, over a limit too."""
        run = self._new_run(request, extractor, None)
        run.call = run.flight.call = msgspec.structs.replace(run.call, door=REPORT)
        with self._before:
            run.decision = self.gate.authorize(run.call)
            if run.decision.denial is not None:
                run.decision = self.gate.spent(run.call)
        with self._after:
            self.spans.end(run, self._sink.close(closing_of(run, reading, "ok")))

    # -- streams --

    def finish_stream(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once; later ends change nothing."""
        entry = self.open_streams.pop(run.call.id, None)
        if entry is not None:
            with self._after:
                closing = stream_closing(run, entry[1], status, error)
                self.spans.end(run, self._sink.close(closing))
                return
            self._close_blindly(run, status)

    async def finish_stream_async(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once, without blocking the event loop."""
        entry = self.open_streams.pop(run.call.id, None)
        if entry is not None:
            with self._after:
                await self._end_async(run, stream_closing(run, entry[1], status, error))
                return
            self._close_blindly_soon(run, status)

    def finish_stream_soon(
        self, run: Run, status: OutcomeStatus, error: BaseException | None = None
    ) -> None:
        """Account for the end of a stream, once, in the worker. Takes no lock."""
        self.worker.put(lambda: self.finish_stream(run, status, error))

    def finish_open_streams(self) -> None:
        """Account for every stream that is still open: the interpreter is going to end."""
        for run, reader in list(self.open_streams.values()):
            if isinstance(reader, Ending):
                reader.finish()
            else:
                self.finish_stream(run, "partial")

    def forget_streams(self) -> None:
        """Drop what the parent has open: a forked child does not account for it."""
        self.open_streams.clear()

    # -- inside --

    def _new_run(self, request: Request, extractor: Extractor, asked: object) -> Run:
        now = time_ns()
        context = get_current()
        attribution = self.attribution(context)
        said = getattr(asked, "said", None)
        if said is not None:  # of this call alone
            attribution = merge_attributions(attribution, said)
        call = Call(
            id=new_call_id(now), started_at_unix_ns=now, request=request, attribution=attribution
        )
        around = context if BAGGAGE in context else None
        return Run(call, CallInFlight(call, asked), extractor, perf_counter_ns(), around)

    def _start(self, run: Run, request: Request, extractor: Extractor, asked: object) -> None:
        """Start the span and prepare what is sent; or record the denial."""
        decision = run.decision
        if decision.change is not None:
            decision = self._change(run, decision, decision.change, asked)
        denial = decision.denial
        span = extractor.spans.start(run.call, decision, extractor, asked)
        if denial is None:
            if span is not None:
                run.span = span
                run.context = span.context
            extractor.prepare(request, asked)
            return
        traceparent = span.traceparent if span is not None else None
        self._note(refusal(run.call, decision.note, denial, traceparent))
        self.spans.deny(span, run, denial)

    def _change(self, run: Run, decision: Decision, change: Change, asked: object) -> Decision:
        """Have something else go out than was asked for; what can't be changed is refused."""
        run.decision = UNDECIDED  # while we may fail
        if run.extractor.change(change, asked):
            call = msgspec.structs.replace(run.call, request=change.request)
            run.call = run.flight.call = call
        elif change.denial is None:
            decision = unchanged(decision)
        else:
            self.gate.abandon(run.call.id)
            decision = refused(decision, change.denial)
        run.decision = decision
        return decision

    def _close_blindly(self, run: Run, status: OutcomeStatus) -> None:
        """Account for a call whose end we failed to read: usage unknown, its hold stays counted."""
        self.open_streams.pop(run.call.id, None)
        with self._after:
            self.spans.end(run, self._sink.close(closing_of(run, UNREAD, status)))

    def _close_blindly_soon(self, run: Run, status: OutcomeStatus) -> None:
        self.worker.do(lambda: self._close_blindly(run, status))

    async def _end_async(self, run: Run, closing: Closing) -> None:
        """Store the event and end the span; for a cancelled task the worker does both once more."""
        try:
            self.spans.end(run, await self._sink.close_async(closing))
        except BaseException as error:
            if not isinstance(error, Exception):  # what is stored twice is counted once
                self.worker.do(lambda: self.spans.end(run, self._sink.close(closing)))
            raise
