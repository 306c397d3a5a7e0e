"""Ends calls that were let through: what they used is priced, stored and charged, once.

How a call went is written down first; then its event is stored, then its accounts are charged. A
server that is killed in between leaves the rest to whoever is told the same again, or to
`finish_some`, in any server: each step may be done twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tollspan.budget import (
    Closing,
    Decision,
    DeferredHold,
    Pricer,
    Rates,
    Settlement,
    release_of,
)
from tollspan.ledger.central import CentralLedger, HeldCall
from tollspan.server.authority import Authorities
from tollspan.server.checking import refusal_of
from tollspan.server.gates import TenantGates
from tollspan.server.problems import ProblemError
from tollspan.server.settings import ServerSettings
from tollspan.server.tally import Store
from tollspan.usage import TollspanError, UsageEvent

from .answers import CallEndAnswer, settle_answer
from .questions import CallEndQuestion

_log = logging.getLogger(__name__)
_PATIENCE_NS: Final = 5_000_000_000
"""What was begun so long ago was left by a server that is no more."""
_AT_ONCE: Final = 100
_kept = msgspec.json.Decoder(DeferredHold).decode
_event = msgspec.json.Decoder(UsageEvent).decode


class CallEnds:
    """Ends calls. Safe for threads and for several servers.

    Args:
        ledger: Keeps what was decided, how far calls are, and their events.
        authorities: Hold their money.
        gates: Count those under way.
        rates: By which they are priced.
        settings: What events are taken.
        store: Stores the events; None for the ledger itself.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        authorities: Authorities,
        gates: TenantGates,
        rates: Rates,
        settings: ServerSettings,
        *,
        store: Store | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._calls = ledger.held_calls
        self._store = store or ledger.events.store
        self._authorities = authorities
        self._gates = gates
        self._pricer = Pricer(rates)
        self._settings = settings
        self._clock = clock

    def settle(self, tenant: str, said: CallEndQuestion) -> bytes:
        """Take in how a call went; return the answer in JSON, the same for the same words.

        Raises:
            ProblemError: There is no such call, or it was said to have gone otherwise.
            LedgerError: It may not be settled yet: say it again.
        """
        said.check()
        call = self._found(tenant, said.call_id)
        digest = said.digest()
        if call.state == "cancelling":
            self._finish(tenant, call)
            call = self._found(tenant, call.id)
        if said.cancel:
            call = self._cancel(tenant, call, digest)
        elif call.state in ("held", "cancelled"):
            call = self._begin_end(tenant, call, said, digest)
        if call.told != digest:
            raise ProblemError(409, "body: something else was said of how this call went")
        self._gates.leave(tenant, call.id)
        self._finish(tenant, call)
        assert call.ended is not None
        return call.ended

    def finish_some(self) -> int:
        """Finish calls that other servers have begun to end, and left; return how many.

        Raises:
            LedgerError: One can't be finished yet.
        """
        found = self._calls.unfinished(self._clock() - _PATIENCE_NS, _AT_ONCE)
        for tenant, call in found:
            self._finish(tenant, call)
        return len(found)

    def _found(self, tenant: str, call_id: str) -> HeldCall:
        call = self._calls.find(tenant, call_id)
        if call is None:
            raise ProblemError(404, "there is no such call: ask POST /v1/authorize first")
        if call.kept is None:
            raise ProblemError(409, "this call was refused: there is nothing to settle")
        return call

    def _cancel(self, tenant: str, call: HeldCall, digest: bytes) -> HeldCall:
        """Note that nothing was sent; what is said of an end later still counts."""
        answer = CallEndAnswer(call_id=call.id, status="cancelled")
        self._calls.move(
            tenant, call.id, ("held",), "cancelling", told=digest, ended=msgspec.json.encode(answer)
        )
        return self._found(tenant, call.id)

    def _begin_end(
        self, tenant: str, call: HeldCall, said: CallEndQuestion, digest: bytes
    ) -> HeldCall:
        """Note how a call went, with its event; return it as it is then."""
        assert call.kept is not None
        event = self._event(_kept(call.kept), said)
        refused = refusal_of(
            event, tenant=tenant, now_unix_ns=self._clock(), settings=self._settings
        )
        if refused is not None:
            raise ProblemError(409 if refused.reason == "too_old" else 400, refused.message)
        self._calls.move(
            tenant,
            call.id,
            ("held", "cancelled"),
            "ending",
            told=digest,
            event=msgspec.json.encode(event),
            ended=msgspec.json.encode(settle_answer(event)),
        )
        return self._found(tenant, call.id)

    def _event(self, kept: DeferredHold, said: CallEndQuestion) -> UsageEvent:
        closing = Closing(
            kept.call,
            Decision(note=kept.note, hold=kept.hold),
            said.used(),
            said.ended(),
            kept.traceparent,
            said.is_incomplete,
        )
        return kept.named(self._pricer.event(closing))

    def _finish(self, tenant: str, call: HeldCall) -> None:
        """Store and charge what is noted; done twice, it counts once."""
        if call.state == "cancelling":
            self._release(tenant, call)
            self._calls.move(tenant, call.id, ("cancelling",), "cancelled")
        elif call.state == "ending":
            assert call.event is not None
            event = _event(call.event)
            self._store(tenant, [event])
            self._charge(tenant, event)
            self._calls.move(tenant, call.id, ("ending",), "ended")
            self._warn(tenant, event)

    def _release(self, tenant: str, call: HeldCall) -> None:
        assert call.kept is not None
        kept = _kept(call.kept)
        if kept.hold is not None and kept.lease_id is not None:
            self._tell(tenant, [release_of(kept.hold)])

    def _charge(self, tenant: str, event: UsageEvent) -> None:
        if event.charges:
            one = Settlement(call_id=event.call.id, lease_id=event.lease_id, charges=event.charges)
            self._tell(tenant, [one])

    def _warn(self, tenant: str, event: UsageEvent) -> None:
        """Tell of budgets that run low: what fails fails no call, which is settled."""
        try:
            self._gates.of(tenant).warner.look(event)
        except TollspanError as error:
            _log.warning("budgets that run low can't be told now: %s", error)

    def _tell(self, tenant: str, settlements: Sequence[Settlement]) -> None:
        self._authorities.of(tenant).settle(settlements)
