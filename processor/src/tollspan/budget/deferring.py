"""Deferred holds: what stays held for a call that was accepted as a job and ends elsewhere.

A batch, a response in the background, a video, a job in a queue of the program's own: the provider
answers at once with the job's id, and says later, perhaps to another process, what it used.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from tollspan.usage import (
    Call,
    Charge,
    DecisionNote,
    Iteration,
    LedgerError,
    Outcome,
    Response,
    Usage,
    UsageEvent,
    sum_of,
)

from .closing import Closer
from .ports import Closing
from .values import Decision, Hold

_MOST_ITERATIONS = 16
DEFERRED = "deferred"
"""The mark of an event whose call was accepted as a job."""


class DeferredHold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that goes on elsewhere, with all that its event will need.

    Attributes:
        provider, job_id: Whose job it is, and its name there: the key.
        part: Numbers the calls that are one job together, from 0.
        call, note, hold, traceparent: As when the call was let through.
        deferred_at_unix_ns: When it was accepted, nanoseconds since the epoch.
        lease_id: The lease of a shared authority that holds for it; None for none.
        drawn: What that has for it in each account, in the order of the hold's legs.
        attempts, maybe_billed_attempts: As in `Outcome`.
        lines: Names of the job's requests that this call stands for; empty for all.
    """

    provider: str
    job_id: str
    part: int = 0
    call: Call
    note: DecisionNote
    hold: Hold | None = None
    traceparent: str | None = None
    deferred_at_unix_ns: int
    lease_id: str | None = None
    drawn: tuple[int, ...] = ()
    attempts: int = 1
    maybe_billed_attempts: int = 0
    lines: tuple[str, ...] = ()

    def closing(self, usage: Usage | None, outcome: Outcome, *, is_incomplete: bool) -> Closing:
        """Return what is known of the call now that its job has ended.

        Args:
            usage: What it used; None when the provider did no billable work.
            outcome: How it ended; duration and attempts are set here.
            is_incomplete: More may have been used.
        """
        return Closing(
            self.call,
            Decision(note=self.note, hold=self.hold),
            usage,
            msgspec.structs.replace(
                outcome,
                duration_ns=max(0, time.time_ns() - self.call.started_at_unix_ns),
                attempts=self.attempts,
                maybe_billed_attempts=self.maybe_billed_attempts,
            ),
            self.traceparent,
            is_incomplete,
            (DEFERRED,),
        )

    def named(self, event: UsageEvent) -> UsageEvent:
        """Name the lease in the call's event: all that it has for the call goes out of it."""
        if self.lease_id is None:
            return event
        charges = event.charges
        own = [
            msgspec.structs.replace(charge, drawn=drawn)
            for charge, drawn in zip(charges, self.drawn, strict=False)
        ]
        beyond: Sequence[Charge] = charges[len(own) :]
        return msgspec.structs.replace(event, lease_id=self.lease_id, charges=(*own, *beyond))


class JobCloser(Closer):
    """A closer that also accounts for jobs: it keeps what they hold, and settles them once."""

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds, now that its provider has accepted it as a job.

        Returns:
            False where it could not be kept: the call is to be closed as one of unknown use.
        """
        try:
            return self._books.defer(deferred)
        except LedgerError:
            return False

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what is kept for a job; raises `LedgerError` where that can't be read."""
        return self._books.deferred(provider, job_id)

    def settle(self, deferred: DeferredHold, closing: Closing) -> UsageEvent:
        """Post the one event of a call whose job has ended, as `close` does.

        It has the call's own id: posted again, by any process of the host, it changes nothing.
        """
        event = _condensed(deferred.named(self.event(closing)))
        try:
            self._books.post(event, deferred.hold)
        except LedgerError:
            self._books.rescue(event, deferred.hold)
        except BaseException:
            self._books.rescue(event, deferred.hold)
            raise
        return event


def _condensed(event: UsageEvent) -> UsageEvent:
    """Keep of many runs of models one sum for each model: they were priced one by one."""
    usage = event.usage
    if usage is None or len(usage.iterations) <= _MOST_ITERATIONS:
        return event
    by_model: dict[str | None, list[Iteration]] = {}
    for run in usage.iterations:
        by_model.setdefault(run.model, []).append(run)
    sums = tuple(
        [Iteration(**sum_of(tuple(runs)), model=model) for model, runs in by_model.items()]
    )
    return msgspec.structs.replace(event, usage=msgspec.structs.replace(usage, iterations=sums))


NOTHING_USED = Outcome(status="cancelled", response=Response())
"""How a job ended that its owner gave up before it used anything."""
