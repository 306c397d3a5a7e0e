"""A process that is cut off from a shared authority, and calls that it makes all the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from tests.contract.ledger.making import charge, event, hold
from tollspan.budget import (
    Account,
    Allowance,
    AllowedLedger,
    Balance,
    Busy,
    DeferredHold,
    GivenBack,
    Grant,
    Hold,
    Lease,
    Refusal,
    Settlement,
    SharedAuthority,
    Touch,
    Want,
)
from tollspan.usage import Charge, DecisionEvent, LedgerUnavailableError, UsageEvent

_numbers = itertools.count(1)


class Way:
    """The way to a shared authority, which may be cut, or lose answers."""

    def __init__(self, authority: SharedAuthority) -> None:
        self._authority = authority
        self.is_cut = False
        self.loses_answers = False
        self.questions = 0

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        self._leave()
        answer = self._authority.grant(lease, wants)
        self._arrive()
        return answer

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        return self.grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        self._leave()
        answer = self._authority.give_back(lease, parts)
        self._arrive()
        return answer

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self._leave()
        self._authority.settle(settlements)
        self._arrive()

    def touch(self, touch: Touch) -> str:
        self._leave()
        return self._authority.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        self._leave()
        return self._authority.balances(accounts)

    def _leave(self) -> None:
        self.questions += 1
        if self.is_cut:
            raise LedgerUnavailableError("cut off")

    def _arrive(self) -> None:
        if self.loses_answers:
            raise LedgerUnavailableError("no answer")


class Away:
    """An authority that answers nobody."""

    def __init__(self) -> None:
        self.released: list[str] = []

    def hold(self, hold: Hold) -> Refusal | None:
        raise LedgerUnavailableError(f"nobody answers {hold.call_id}")

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        return self.hold(hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        raise LedgerUnavailableError(f"nobody answers {hold.call_id}")

    def release_soon(self, call_id: str) -> None:
        self.released.append(call_id)

    def touch(self, touch: Touch) -> str:
        raise LedgerUnavailableError(f"nobody names {touch.account.period}")

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        raise LedgerUnavailableError(f"nobody answers for {len(accounts)} accounts")


class Drawer:
    """Books that keep events until they are settled."""

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.rescued: list[UsageEvent] = []

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        assert hold is not None
        self.events.append(event)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        self.post(event, hold)
        return None

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        self.post(event, hold)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        assert hold is not None
        self.rescued.append(event)

    def note(self, event: DecisionEvent) -> None:
        raise AssertionError(f"no refusal was expected: {event.id}")

    def defer(self, deferred: DeferredHold) -> bool:
        raise AssertionError(f"no job was expected: {deferred.job_id}")

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        raise AssertionError(f"nobody was to look for a job: {provider} {job_id}")

    def settlements(self) -> list[Settlement]:
        """Take out what the events say to the authority."""
        events, self.events = [*self.events, *self.rescued], []
        self.rescued = []
        return [
            Settlement(call_id=one.call.id, lease_id=one.lease_id, charges=one.charges)
            for one in events
        ]


class Process:
    """A process: slices by way of a link, and an authority that never answers its calls."""

    def __init__(
        self,
        authority: SharedAuthority,
        allowance: Allowance,
        drawer: Drawer,
        clock: Callable[[], float],
    ) -> None:
        self.way = Way(authority)
        self.drawer = drawer
        self.ledger = AllowedLedger(
            Away(),
            drawer,
            self.way,
            drawer,
            settle=self.way.settle,
            holder=lambda: f"process-{next(_numbers)}",
            clock=clock,
            run_soon=lambda errand: errand(),
        )
        self.ledger.use(allowance)

    def asks(self, *legs: tuple[Account, int]) -> Hold | None:
        """Ask for a call, which the authority does not answer; return what is held unasked."""
        wanted = hold(*legs)
        try:
            self.ledger.hold(wanted)
        except LedgerUnavailableError:
            return self.ledger.take(wanted)
        raise AssertionError("an authority that is away has answered")

    def left(self, account: Account) -> int:
        """Return the most that a call could have unasked just now; nothing is held."""
        low, high = 0, account.limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.ledger.take(hold((account, middle)), is_looking=True) is not None
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def ends(self, taken: Hold, *posted: int, unresolved: int = 0) -> UsageEvent:
        """Store the event of a call that has used so much in each account."""
        found = event(taken.call_id, *charges(taken, posted, unresolved))
        self.ledger.post(found, taken)
        return found


def charges(taken: Hold, posted: Sequence[int], unresolved: int = 0) -> list[Charge]:
    """Charge each account of a hold."""
    return [
        msgspec.structs.replace(charge(account, posted=used), unresolved=unresolved)
        for (account, _), used in zip(taken.legs, posted, strict=True)
    ]
