"""Puts together what is known of a call when it ends."""

from __future__ import annotations

from time import perf_counter_ns

from tollspan.budget import Closing
from tollspan.usage import Outcome, OutcomeStatus

from ._run import Failure, Run
from ._shapes import UNREAD, Reading, StreamReader


def closing_of(
    run: Run,
    reading: Reading,
    status: OutcomeStatus,
    failure: Failure | None = None,
    first_chunk_at_ns: int | None = None,
) -> Closing:
    """Return what is known of a call that was answered."""
    flight = run.flight
    started_at_ns = run.started_at_ns
    span = run.span
    error_type = reading.error_type if failure is None else failure.error_type
    if error_type is not None and status == "ok":  # it failed, and nothing was raised
        status = "error"
    return Closing(
        flight.call,
        run.decision,
        reading.usage,
        Outcome(
            status=status,
            duration_ns=perf_counter_ns() - started_at_ns,
            error_type=error_type,
            attempts=flight.retries + 1,
            maybe_billed_attempts=flight.maybe_billed,
            first_chunk_ns=first_chunk_at_ns - started_at_ns if first_chunk_at_ns else None,
            response=reading.response,
        ),
        (span.traceparent if span is not None else None) or flight.traceparent,
        reading.is_incomplete,
    )


def failed_closing(run: Run, error: BaseException) -> Closing:
    """Return what is known of a call that raised before there was anything to read."""
    failure = run.extractor.failure(error)
    is_billed = failure.is_maybe_billed and not run.extractor.is_free
    reading = failure.reading or UNREAD
    span = run.span
    if span is not None:
        span.error = error
    return Closing(
        run.flight.call,
        run.decision,
        reading.usage if is_billed else None,
        Outcome(
            status=failure.status,
            duration_ns=perf_counter_ns() - run.started_at_ns,
            error_type=failure.error_type,
            attempts=run.flight.retries + 1,
            maybe_billed_attempts=run.flight.maybe_billed,
            response=reading.response,
        ),
        (span.traceparent if span is not None else None) or run.flight.traceparent,
    )


def stream_closing(
    run: Run,
    reader: StreamReader,
    status: OutcomeStatus,
    error: BaseException | None,
) -> Closing:
    """Return what is known of a stream that ended."""
    failure = None
    if error is not None:
        failure = run.extractor.failure(error)
        status = failure.status
        if run.span is not None:
            run.span.error = error
    reading = reader.read()
    if status == "ok" and _is_cut(reading) and not reader.is_whole():
        status = "partial"  # it ended in good order, and nobody said that it was all
    return closing_of(run, reading, status, failure, reader.first_chunk_at_ns)


def _is_cut(reading: Reading) -> bool:
    """Say of a stream that ended whether nothing in it said that this was its end."""
    if reading.error_type is not None or reading.response.finish_reasons:
        return False
    return reading.usage is not None and reading.usage.status != "reported"
