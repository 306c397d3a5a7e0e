"""The closer: prices a finished call, works out its charges, and posts its one event."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tollspan.usage import (
    Charge,
    Cost,
    LedgerError,
    Request,
    Response,
    Usage,
    UsageEvent,
)

from .counting import INCOMPLETE, charges_of
from .ports import Books, Busy, Closing, is_asyncio

_NOT_BILLED = Cost(status="not_billed", amount_nanousd=0)


class Rates(Protocol):
    """The part of a price book that the closer needs."""

    def rate(
        self,
        request: Request,
        response: Response,
        usage: Usage,
        at_unix_ns: int,
        *,
        ceiling: bool,
    ) -> Cost:
        """Price what a call used; `ceiling` assumes the dearest for no price."""
        ...


class Pricer:
    """Prices finished calls, and says what their accounts are charged."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    def event(self, closing: Closing) -> UsageEvent:
        """Return the event of a call that has ended; nothing is stored."""
        call = closing.call
        usage = closing.usage
        decision = closing.decision
        outcome = closing.outcome
        if usage is None:
            cost = _NOT_BILLED
        else:
            cost = self._rates.rate(
                call.request,
                outcome.response,
                usage,
                call.started_at_unix_ns,
                ceiling="ceiling" in decision.note.bound_reasons,
            )
        charges: tuple[Charge, ...] = ()
        marks = closing.marks
        hold = decision.hold
        if hold is not None:
            posted = cost.amount_nanousd or 0
            keep = closing.keep_unresolved or cost.status in INCOMPLETE
            extra = outcome.maybe_billed_attempts
            if keep or extra or not hold.is_money or posted > (decision.note.bound_nanousd or 0):
                if decision.on_end is not None:
                    decision.on_end()
                charges = charges_of(closing, cost)
                if any(charge.overrun for charge in charges):
                    marks += ("overrun",)
            else:
                charges = tuple(
                    [
                        Charge(
                            budget_id=account.budget_id,
                            scope=account.scope,
                            period=account.period,
                            posted=posted,
                        )
                        for account, _ in hold.legs
                    ]
                )
            if decision.note.is_unavailable:
                marks += ("unavailable",)
        return UsageEvent(
            call=call,
            decision=decision.note,
            outcome=outcome,
            usage=usage,
            cost=cost,
            charges=charges,
            traceparent=closing.traceparent,
            marks=marks,
        )


class Closer(Pricer):
    """Turns a closing into an event, exactly once for each call id."""

    def __init__(self, rates: Rates, books: Books) -> None:
        super().__init__(rates)
        self._books = books

    def post_to(self, books: Books) -> None:
        """Have other books keep the events of the calls that end from now on."""
        self._books = books

    def close(self, closing: Closing) -> UsageEvent:
        """Price, store and settle; durable when it returns, or kept by rescue."""
        event = self.event(closing)
        hold = closing.decision.hold
        try:
            self._books.post(event, hold)
        except LedgerError:
            self._books.rescue(event, hold)
        except BaseException:
            # Storing twice changes nothing; an interrupt in the middle may have stored nothing.
            self._books.rescue(event, hold)
            raise
        return event

    async def close_async(self, closing: Closing) -> UsageEvent:
        """Price, store and settle; what would have to wait is awaited from another thread."""
        event = self.event(closing)
        hold = closing.decision.hold
        try:
            if not isinstance(self._books.post_now(event, hold), Busy):
                pass
            elif not is_asyncio():
                self._books.post(event, hold)
            else:
                await asyncio.shield(asyncio.wrap_future(self._books.post_soon(event, hold)))
        except LedgerError:
            self._books.rescue(event, hold)
        except asyncio.CancelledError:
            raise  # the writer has it already
        except BaseException:
            self._books.rescue(event, hold)
            raise
        return event
