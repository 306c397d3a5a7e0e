"""Takes bodies of spans: reads them, prices the calls in them, stores each call once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tollspan.ledger.central import CentralLedger, Stored, ToldCall
from tollspan.server.charging import Assessor
from tollspan.server.checking import refusal_of
from tollspan.server.principals import Principal
from tollspan.server.problems import ProblemError
from tollspan.server.settings import ServerSettings
from tollspan.server.tally import Tally

from .calls import Rates, told_call
from .json_body import read_json
from .protobuf_body import read_protobuf
from .replies import PROTOBUF
from .sent import BodyError, BodyTooLargeError, SentSpan, SpanError

_MOST_SAID: Final = 5
_REASONS: Final = frozenset(("wrong_tenant", "too_old", "in_the_future"))
_TOO_OLD: Final = "too_old: calls of that time are kept no more"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a body's spans.

    Attributes:
        rejected: How many were not taken, and never will be.
        message: Why; `""` where all were taken.
    """

    rejected: int = 0
    message: str = ""


class SpanReceiver:
    """Takes spans into the central ledger.

    Args:
        ledger: Where their calls go.
        settings: What is taken.
        rates: What calls cost.
        tally: Is told what came.
        assessor: Says what calls charge.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        settings: ServerSettings,
        rates: Rates,
        tally: Tally,
        assessor: Assessor,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._rates = rates
        self._tally = tally
        self._assessor = assessor
        self._clock = clock

    def receive(self, who: Principal, media_type: str, body: bytes) -> Taken:
        """Take a body; every call in it is durable when this returns.

        Raises:
            ProblemError: It is no OTLP, or has too much in it.
            LedgerUnavailableError: Nothing was stored.
        """
        try:
            sent = read_protobuf(body) if media_type == PROTOBUF else read_json(body)
        except BodyTooLargeError as error:
            raise ProblemError(413, str(error)) from None
        except BodyError as error:
            raise ProblemError(400, str(error)) from None
        wrong = list(sent.wrong)
        told: list[ToldCall] = []
        for span in sent.spans:
            try:
                found = self._call(who.tenant, span)
            except SpanError as error:
                wrong.append(str(error))
                continue
            if found is not None:
                told.append(found)
        stored = self._stored(who.tenant, told) if told else []
        new = [
            one.event
            for one, became in zip(told, stored, strict=True)
            if became.status == "accepted"
        ]
        too_old = [_TOO_OLD for became in stored if became.status == "too_old"]
        wrong += too_old
        self._tally.note(
            who.tenant, who.key_id, new, source="spans",
            duplicates=len(told) - len(new) - len(too_old),
            rejected=Counter(_reason(one) for one in wrong),
        )  # fmt: skip
        return Taken(rejected=len(wrong), message=_message(wrong))

    def _stored(self, tenant: str, told: Sequence[ToldCall]) -> list[Stored]:
        assessed = self._assessor.with_charges(tenant, told)
        stored = self._ledger.spans.store(tenant, assessed)
        if any(one.event.charges for one in assessed):
            self._assessor.wake()
        return stored

    def _call(self, tenant: str, span: SentSpan) -> ToldCall | None:
        """Return a span's call; None for none.

        Raises:
            SpanError: It can't be taken.
        """
        found = told_call(span, self._rates)
        if found is None:
            return None
        refusal = refusal_of(
            found.event, tenant=tenant, now_unix_ns=self._clock(), settings=self._settings
        )
        if refusal is not None:
            raise SpanError(f"{refusal.reason}: {refusal.message}")
        return found


def _reason(wrong: str) -> str:
    """Return why a span was not taken, in one of few words: the text may have any."""
    word = wrong.partition(":")[0]
    return word if word in _REASONS else "invalid"


def _message(wrong: list[str]) -> str:
    """Say why spans were not taken, each reason once."""
    if not wrong:
        return ""
    reasons = list(dict.fromkeys(wrong))
    more = "; …" if len(reasons) > _MOST_SAID else ""
    return f"not taken: {'; '.join(reasons[:_MOST_SAID])}{more}"
