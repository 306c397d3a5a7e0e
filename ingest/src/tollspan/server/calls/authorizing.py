"""Decides on calls that programs of any language ask for, once for each call id."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tollspan.budget import Balance, Decision, DeferredHold, call_lease
from tollspan.ledger.central import CentralLedger, HeldCall
from tollspan.server.gates import TenantGate, TenantGates
from tollspan.server.problems import ProblemError
from tollspan.server.tally import Store
from tollspan.usage import Call, LedgerError, new_call_id, refusal

from .answers import AuthorizeAnswer, authorize_answer
from .questions import DOOR, AuthorizeQuestion

_NS: Final = 1_000_000_000


class Authorizer:
    """Decides, holds, and keeps what was decided for whoever ends the call.

    A server that is killed between the hold and what is kept of it leaves the hold behind: asked
    again, the call has it; else it becomes unresolved.

    Args:
        ledger: Keeps decisions, and the events of refusals.
        gates: Decide.
        hold_seconds: How long a call may take.
        store: Stores those events; None for the ledger itself.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        gates: TenantGates,
        *,
        hold_seconds: float,
        store: Store | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._calls = ledger.held_calls
        self._store = store or ledger.events.store
        self._gates = gates
        self._hold_ns = int(hold_seconds * _NS)
        self._clock = clock

    def authorize(self, tenant: str, asked: AuthorizeQuestion) -> bytes:
        """Decide on a call; return the answer in JSON, the same for the same question.

        Raises:
            ProblemError: Another call was asked for under this id.
            LedgerUnavailableError: The books can't be used; nothing was decided.
        """
        now = self._clock()
        call_id = asked.call_id or new_call_id(now)
        digest = asked.digest()
        known = self._calls.find(tenant, call_id)
        if known is not None:
            return _same(known, digest)
        gate = self._gates.of(tenant)
        call = asked.call(call_id, tenant, now)
        decision = gate.gate.authorize(call)
        if decision.change is not None:
            call = msgspec.structs.replace(call, request=decision.change.request)
        made = self._made(call, asked, digest, decision, gate)
        if decision.denial is not None and decision.note.is_unavailable:
            self._go_on(tenant, call, asked, decision, gate)
            return made.answer  # asked again, it is decided anew
        try:
            is_first = self._calls.add(tenant, made)
        except LedgerError:
            self._drop(gate, decision, call_id, may_ask_again=asked.call_id is not None)
            raise
        if is_first:
            self._go_on(tenant, call, asked, decision, gate)
            return made.answer
        return self._second(tenant, call_id, digest, decision, gate)

    def _made(
        self,
        call: Call,
        asked: AuthorizeQuestion,
        digest: bytes,
        decision: Decision,
        gate: TenantGate,
    ) -> HeldCall:
        """Write down a decision, with what the call's end needs."""
        answer = msgspec.json.encode(self._answer(call, decision, gate))
        if decision.denial is not None:
            return HeldCall(id=call.id, state="denied", asked=digest, answer=answer)
        hold = decision.hold
        kept = DeferredHold(
            provider=DOOR,
            job_id=call.id,
            call=call,
            note=decision.note,
            hold=hold,
            traceparent=asked.traceparent,
            deferred_at_unix_ns=call.started_at_unix_ns,
            lease_id=None if hold is None else call_lease(call.id).id,
            drawn=() if hold is None else tuple([amount for _, amount in hold.legs]),
        )
        return HeldCall(
            id=call.id, state="held", asked=digest, answer=answer, kept=msgspec.json.encode(kept)
        )

    def _answer(self, call: Call, decision: Decision, gate: TenantGate) -> AuthorizeAnswer:
        hold = decision.hold
        balances: Sequence[Balance | None] = ()
        if hold is not None:
            accounts = [account for account, _ in hold.legs]
            try:
                balances = gate.leases.balances(accounts)
            except LedgerError:
                balances = [None] * len(accounts)
        ends_at = call.started_at_unix_ns + self._hold_ns if _is_held(decision) else None
        return authorize_answer(call, decision, balances, expires_at_unix_ns=ends_at)

    def _go_on(
        self,
        tenant: str,
        call: Call,
        asked: AuthorizeQuestion,
        decision: Decision,
        gate: TenantGate,
    ) -> None:
        """Leave a call to its maker; of one that was refused, keep the event."""
        denial = decision.denial
        if denial is None:
            gate.leases.leave(call.id)
            self._gates.enter(tenant, call, decision)
            return
        self._store(tenant, [refusal(call, decision.note, denial, asked.traceparent)])

    def _second(
        self, tenant: str, call_id: str, digest: bytes, decision: Decision, gate: TenantGate
    ) -> bytes:
        """Answer as another thread or server did meanwhile, which decided on the same call.

        Where that was let through, both hold by one lease; where it was refused, nobody does.
        """
        known = self._calls.find(tenant, call_id)
        if known is None:
            raise ProblemError(409, "the call was decided on, and forgotten since")
        self._drop(gate, decision, call_id, may_ask_again=known.state != "denied")
        return _same(known, digest)

    @staticmethod
    def _drop(gate: TenantGate, decision: Decision, call_id: str, *, may_ask_again: bool) -> None:
        """Take a decision back.

        Args:
            gate: Which decided.
            decision: What it said.
            call_id: Of which call.
            may_ask_again: The call may still be held, or be asked for again: then its lease has
                what it needs, and keeps it.
        """
        if decision.on_end is not None:
            decision.on_end()
        if may_ask_again:
            gate.leases.leave(call_id)
        else:
            gate.leases.release_soon(call_id)


def _is_held(decision: Decision) -> bool:
    return decision.hold is not None and not decision.note.is_unavailable


def _same(known: HeldCall, digest: bytes) -> bytes:
    """Return what was answered.

    Raises:
        ProblemError: Something else was asked under this id.
    """
    if known.asked != digest:
        raise ProblemError(409, "body: another call was asked for with this call_id")
    return known.answer
