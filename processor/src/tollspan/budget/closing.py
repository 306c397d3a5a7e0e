"""The closer: prices a finished call, works out its charges, and posts its one event."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tollspan.usage import (
    TOOL_CALLS,
    TOOL_PROVIDER,
    BudgetUnit,
    Call,
    Charge,
    Cost,
    LedgerError,
    Request,
    Response,
    Usage,
    UsageEvent,
)

from .ports import Books, Busy, Closing, is_asyncio
from .values import REPORT, Leg

_NOT_BILLED = Cost(status="not_billed", amount_nanousd=0)
_INCOMPLETE = frozenset({"unknown", "unpriced", "partial"})


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


class Closer:
    """Turns a closing into an event, exactly once for each call id."""

    def __init__(self, rates: Rates, books: Books) -> None:
        self._rates = rates
        self._books = books

    def post_to(self, books: Books) -> None:
        """Have other books keep the events of the calls that end from now on."""
        self._books = books

    def close(self, closing: Closing) -> UsageEvent:
        """Price, store and settle; durable when it returns, or kept by rescue."""
        event = self._event(closing)
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
        event = self._event(closing)
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

    def _event(self, closing: Closing) -> UsageEvent:
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
            keep = closing.keep_unresolved or cost.status in _INCOMPLETE
            extra = outcome.maybe_billed_attempts
            if keep or extra or not hold.is_money or posted > (decision.note.bound_nanousd or 0):
                charges = _charges(closing, cost)
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


def _charges(closing: Closing, cost: Cost) -> tuple[Charge, ...]:
    """Charge every account in its unit: what was used, and what may have been."""
    hold, usage = closing.decision.hold, closing.usage
    is_counted = usage is not None and usage.status != "unknown"
    tokens = usage.input_tokens + usage.output_tokens if usage is not None and is_counted else 0
    is_open = closing.keep_unresolved or (usage is not None and not is_counted)
    used: dict[BudgetUnit, tuple[int, bool]] = {
        "usd": (
            cost.amount_nanousd or 0,
            closing.keep_unresolved or cost.status in _INCOMPLETE,
        ),
        "tokens": (tokens, is_open),
        "calls": (_calls(closing.call, usage), False),
    }
    extra = closing.outcome.maybe_billed_attempts
    legs = hold.legs if hold is not None else ()
    return tuple([_charge(leg, *used[leg[0].unit], extra) for leg in legs])


def _calls(call: Call, usage: Usage | None) -> int:
    """Count calls: one, or those of a tool that the program says were made.

    What is reported outside of a call, pages say, belongs to calls that were counted as such.
    """
    if usage is None:
        return 0
    if call.request.provider != TOOL_PROVIDER:
        return 1
    said = dict(usage.quantities).get(TOOL_CALLS, 0)
    return said if call.door == REPORT else max(said, 1)


def _charge(leg: Leg, posted: int, keep: bool, extra_attempts: int) -> Charge:  # noqa: FBT001
    """Charge one account: what was used, and what may have been.

    An attempt that was sent and never answered keeps its bound; so does the rest of a hold whose
    call may have used more than is known.
    """
    account, held = leg
    unresolved = held * extra_attempts
    if keep and held > posted:
        unresolved += held - posted
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        posted=posted,
        unresolved=unresolved,
        overrun=posted - held if posted > held else 0,
    )
