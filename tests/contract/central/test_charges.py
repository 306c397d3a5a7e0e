"""What calls charge that no host charges: whatever tells of them in whatever order, each once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.contract.central.test_repricing import DEAR, reprice
from tests.contract.central.test_spans import FRAMEWORK, own, told
from tollspan.ledger.central import CentralLedger, DueCharge, ToldCall
from tollspan.usage import Charge, UsageEvent

BEFORE_LONG = 61 * 10**9


def charging(one: ToldCall, posted: int = 190) -> ToldCall:
    """Give a span's call what it charges."""
    charges = (Charge(budget_id="org", posted=posted),)
    return msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, charges=charges))


def due_of(event: UsageEvent, lease_id: str | None = None) -> dict[str, DueCharge]:
    """Return what a host's own event charges: what it costs."""
    return {
        event.call.id: DueCharge(
            tenant="acme",
            name=event.call.id,
            place=(event.call.started_at_unix_ns, event.call.id),
            charges=(Charge(budget_id="org", posted=event.cost.amount_nanousd or 0),),
            lease_id=lease_id,
        )
    }


class Authority:
    """Counts each name once, as authorities do."""

    def __init__(self) -> None:
        self.posted: dict[str, int] = {}

    def post(self, ledger: CentralLedger, *, is_killed: bool = False) -> None:
        """Post all that is due; who is killed leaves it there."""
        due = ledger.charges_due.begin(100)
        for one in due:
            self.posted.setdefault(one.name, sum(charge.posted for charge in one.charges))
        if not is_killed:
            ledger.charges_due.done(due)

    @property
    def total(self) -> int:
        return sum(self.posted.values())


@pytest.fixture
def later(where: str) -> Iterator[CentralLedger]:
    """Open the same books, a minute later."""
    made = CentralLedger(where, clock=lambda: time.time_ns() + BEFORE_LONG)
    yield made
    made.close()


def test_what_an_event_charges_is_due_once_it_is_stored(ledger: CentralLedger) -> None:
    event = usage_event(cost=7)
    assert not ledger.charges_due.has_some()
    for _ in range(2):
        ledger.events.store("acme", [event], due_of(event, "a/1"))
    assert ledger.charges_due.has_some()
    (due,) = ledger.charges_due.begin(10)
    assert due == due_of(event, "a/1")[event.call.id]
    found = ledger.charges_due.event("acme", due.place)
    assert found is not None
    assert found == event
    assert ledger.charges_due.begin(10) == [due]
    ledger.charges_due.done([due])
    assert not ledger.charges_due.has_some()
    ledger.events.store("acme", [event], due_of(event))
    assert not ledger.charges_due.has_some()


def test_nothing_is_due_of_an_event_that_charges_nothing(ledger: CentralLedger) -> None:
    ledger.events.store("acme", [usage_event()])
    ledger.spans.store("acme", [told(1)])
    assert not ledger.charges_due.has_some()


@pytest.mark.parametrize("order", list(itertools.permutations(("framework", "sdk", "own"))))
@pytest.mark.parametrize("posts", ["at once", "late", "killed"])
def test_a_call_charges_what_counts_it_in_the_end(
    ledger: CentralLedger, later: CentralLedger, order: Sequence[str], posts: str
) -> None:
    authority = Authority()
    sdk = charging(told(2, parent=1, answer="a"))
    above = charging(told(1, FRAMEWORK, since=-10, ms=150), 200)
    event = own("c1", sdk)
    for teller in [*order, *order]:
        if teller == "own":
            ledger.events.store("acme", [event], due_of(event))
        else:
            ledger.spans.store("acme", [sdk if teller == "sdk" else above])
        if posts != "late":
            authority.post(ledger, is_killed=posts == "killed")
    for _ in range(2):
        authority.post(later)
    assert authority.total == 77
    assert not later.charges_due.has_some()


def test_the_span_of_a_gated_call_waits_for_its_event(
    ledger: CentralLedger, later: CentralLedger
) -> None:
    gated = charging(told(1, call_id="c1"))
    ledger.spans.store("acme", [gated])
    assert not ledger.charges_due.has_some()
    event = own("c1", gated)
    ledger.events.store("acme", [event])  # the host charges
    assert not later.charges_due.has_some()
    ledger.spans.store("acme", [charging(told(2, trace=2, call_id="c2"))])
    authority = Authority()
    authority.post(later)
    assert authority.total == 190


def test_what_was_priced_anew_is_taken_back_as_it_was_charged(
    ledger: CentralLedger, later: CentralLedger
) -> None:
    authority = Authority()
    sdk = charging(told(1, answer="a"))
    ledger.spans.store("acme", [sdk])
    authority.post(ledger)
    assert authority.total == 190
    assert reprice(ledger, DEAR).calls == 1
    event = own("c1", sdk)
    ledger.events.store("acme", [event], due_of(event))
    authority.post(later)
    assert authority.total == 77
