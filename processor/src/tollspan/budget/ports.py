"""What budgeting asks of the rooms around it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from tollspan.usage import Call, DecisionEvent, Outcome, Request, Usage, UsageEvent

from .idle import Touch
from .values import Account, Balance, Decision, Hold, Refusal

if TYPE_CHECKING:
    from .deferring import DeferredHold


class Busy:
    """Somebody else has the authority this instant: nothing was done; ask again, or wait."""

    __slots__ = ()


BUSY: Final = Busy()


def is_asyncio() -> bool:
    """Say whether asyncio runs here; under another event loop, trio say, futures can't be awaited.

    There, what would be awaited is done at once: the loop stands still for as long as it takes.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Authority(Protocol):
    """Holds money in accounts so that `posted + held + unresolved + asked <= limit` in each."""

    def hold(self, hold: Hold) -> Refusal | None:
        """Hold in every account or in none; None means that it is held.

        Asked again for the same call, it changes nothing. Every hold is checked against the limits
        in its own accounts, so that processes with older rules go by theirs until they know better.
        Waits for other holders, a bounded time.

        Raises:
            LedgerError: The authority can't answer; nothing is held.
        """
        ...

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Do as `hold` does, but never wait: `BUSY` when that would be needed."""
        ...

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Hand the hold to another thread. A future cancelled in time holds nothing."""
        ...

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds, later, in another thread; never blocks or raises."""
        ...

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account of an idle window is active; name the period's key.

        It is the same for every holder. It ends once nobody was said to be active for the idle time
        and a tenth of it, by the authority's clock, and nothing is held in the account. Not for an
        event loop's thread: it waits a bounded time.

        Raises:
            LedgerError: The authority can't answer; asked again, it says the same.
        """
        ...

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order; nothing is counted in one that is unknown.

        Not for a caller's thread: it waits for other holders, a bounded time.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...


class Allowing(Protocol):
    """Holds what may be spent while the authority can't answer."""

    def take(self, hold: Hold, *, is_looking: bool = False) -> Hold | None:
        """Hold in the allowances of all accounts that refuse, or in none; never waits or raises.

        Args:
            hold: What the authority could not hold.
            is_looking: Only say what would be held.

        Returns:
            The hold as it is made, in other accounts; None when there is too little somewhere.
        """
        ...


class Books(Protocol):
    """Keeps events, and settles the holds of their calls in the same step."""

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event once and settle its hold by its charges; durable when it returns.

        An event whose call id is already there changes nothing.

        Raises:
            LedgerError: Nothing was stored.
        """
        ...

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Do as `post` does, but never wait: `BUSY` when that would be needed."""
        ...

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to another thread, which rescues it if it must: the future never fails."""
        ...

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Keep an event that `post` could not take, wherever there is room; never raises."""
        ...

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal, later and in another thread; never blocks or raises."""
        ...

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds until its job's end is seen; durable when it returns.

        Its event settles it, whoever posts that. Told again, it changes nothing.

        Returns:
            False where another call is that job already, or this one has ended: nothing was kept.

        Raises:
            LedgerError: Nothing was kept.
        """
        ...

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return the calls that are a job, by their parts; none when all of them were settled.

        Raises:
            LedgerError: The books can't be read.
        """
        ...


class Gate(Protocol):
    """Decides before a call."""

    def authorize(self, call: Call) -> Decision:
        """Decide on a call, and hold what it may cost. Never raises a denial: it returns it."""
        ...

    async def authorize_async(self, call: Call) -> Decision:
        """Do as `authorize` does, without ever blocking the event loop."""
        ...

    def summed(self, requests: Sequence[Request]) -> Gate:
        """Return a gate by the same rules for a call that stands for many requests."""
        ...

    def spent(self, call: Call) -> Decision:
        """Name the accounts of what was used without asking. Holds nothing and refuses nothing."""
        ...

    def abandon(self, call_id: str) -> None:
        """Give back what a call holds that was never made; never blocks or raises."""
        ...


class CallSink(Protocol):
    """Accounts for a call after it ended."""

    def close(self, closing: Closing) -> UsageEvent:
        """Price the call, store its event, settle its hold; return the event."""
        ...

    async def close_async(self, closing: Closing) -> UsageEvent:
        """Do as `close` does, without ever blocking the event loop."""
        ...


OnUnavailable = Literal["allow", "deny"]
OnUnbounded = Literal["model_max", "inject", "deny"]
OnUnboundedInput = Literal["window", "deny"]
OnUnpriced = Literal["ceiling", "allow", "deny"]


class Closing(msgspec.Struct, frozen=True):
    """What is known of a call when it ends.

    Attributes:
        call, decision: The call and what the gate said.
        usage: What it used; None when the provider did no billable work.
        outcome: How it ended.
        traceparent: W3C trace context of its span.
        keep_unresolved: Keep the rest of the hold counted: the usage says less than was spent.
        marks: What to look at in its event, besides what the closer finds.
    """

    call: Call
    decision: Decision
    usage: Usage | None
    outcome: Outcome
    traceparent: str | None = None
    keep_unresolved: bool = False
    marks: tuple[str, ...] = ()
