"""Holds each call in a lease of its own, for calls that end in another process, or never."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from tollspan.usage import Charge, LedgerError

from .idle import Touch
from .leases import Grant, Lease, Settlement, SharedAuthority, Want
from .ports import BUSY, Busy
from .values import Account, Balance, Hold, Refusal

_HOLDER: Final = "call:"
_RELEASE: Final = "~released"
"""Behind the id of a call, it is that of the settlement by which nothing of it is spent."""


def call_lease(call_id: str) -> Lease:
    """Return the lease of a call, by a name that is always the same."""
    return Lease(holder=f"{_HOLDER}{call_id}")


def release_of(hold: Hold) -> Settlement:
    """Return what frees all that a call's lease has, if nothing of it was drawn yet.

    It is told apart from the call's own settlement: what was used all the same is posted later.
    """
    return Settlement(
        call_id=f"{hold.call_id}{_RELEASE}",
        lease_id=call_lease(hold.call_id).id,
        charges=tuple(
            [
                Charge(
                    budget_id=account.budget_id,
                    scope=account.scope,
                    period=account.period,
                    unit=account.unit,
                    drawn=amount,
                )
                for account, amount in hold.legs
            ]
        ),
    )


class CallLeases:
    """An authority that grants exactly what each call needs, to a lease that no other call has.

    Whoever ends the call settles it by the lease's name, in any process. Safe for threads.

    Args:
        authority: Grants. Its leases live as long as a call may take: then what a call held counts
            as unresolved.
    """

    def __init__(self, authority: SharedAuthority) -> None:
        self._authority = authority
        self._held: dict[str, Hold] = {}
        self._lock = threading.Lock()

    def hold(self, hold: Hold) -> Refusal | None:
        """Have all that a call needs granted, or nothing.

        Raises:
            LedgerError: The authority can't answer. What it granted all the same is unresolved in
                the end, unless the call asks again.
        """
        wants = [Want(account=one, known=0, need=need, wish=need) for one, need in hold.legs]
        answer = self._authority.grant(call_lease(hold.call_id), wants)
        if not isinstance(answer, Grant):
            return answer
        with self._lock:
            self._held[hold.call_id] = hold
        return answer.short

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:  # noqa: ARG002 - the port's
        """Return `BUSY`: the authority makes one wait."""
        return BUSY

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Do as `hold` does, at once: threads ask here."""
        future: Future[Refusal | None] = Future()
        try:
            future.set_result(self.hold(hold))
        except LedgerError as error:
            future.set_exception(error)
        return future

    def release_soon(self, call_id: str) -> None:
        """Give back what a call holds; where that fails it becomes unresolved.

        A call of that id is not to be held again: the lease has given its part.
        """
        hold = self.leave(call_id)
        if hold is not None:
            with suppress(LedgerError):
                self._authority.settle([release_of(hold)])

    def leave(self, call_id: str) -> Hold | None:
        """Leave what a call holds to whoever ends it; None where nothing was granted to it here."""
        with self._lock:
            return self._held.pop(call_id, None)

    def touch(self, touch: Touch) -> str:
        """Name the period of an account."""
        return self._authority.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        return self._authority.balances(accounts)
