"""What a process has of leases, step by step, with messages that get lost and come late."""

from __future__ import annotations

from tests.contract.ledger.making import account, hold
from tollspan.budget import GivenBack, Grant, Hold, LeaseSettings
from tollspan.budget.escrow import Ask, Escrow

WIDE = account("wide", limit=100_000)
SETTINGS = LeaseSettings(life_seconds=30.0, drift_seconds=1.0, idle_seconds=2.0)


class Desk:
    """An escrow with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.escrow = Escrow(lambda: "me", SETTINGS, lambda: self.now)

    def ask(self, wanted: Hold) -> Ask:
        asked = self.escrow.begin(wanted)
        assert isinstance(asked, Ask)
        return asked

    def has(self, wanted: Hold, total: int, *, number: int = 1) -> Ask:
        """Be granted what a call needs, and more."""
        asked = self.ask(wanted)
        assert self.escrow.finish(wanted, asked, granted(total, number=number))
        return asked

    def gives(self) -> list[GivenBack]:
        """Give back what has been idle for long enough."""
        self.now += SETTINGS.idle_seconds
        return self.escrow.collect(idle_seconds=SETTINGS.idle_seconds)


def granted(total: int, *, number: int = 1, epoch: str | None = "e1") -> Grant:
    """Grant so much in all, under a lease that lives for 30 seconds."""
    return Grant(totals=(total,), life_seconds=30.0, epoch=epoch, number=number)


def test_a_lease_tells_what_it_was_told_of_epochs_and_grants() -> None:
    desk = Desk()
    desk.has(hold((WIDE, 10)), 10)
    again = desk.ask(hold((WIDE, 10)))
    assert (again.lease.epoch, again.lease.heard) == ("e1", 1)


def test_answers_to_questions_of_before_the_first_answer_still_count() -> None:
    desk = Desk()
    other = account("other", limit=100_000)
    first, second = hold((WIDE, 10)), hold((other, 10))
    asked, beside = desk.ask(first), desk.ask(second)
    assert desk.escrow.finish(first, asked, granted(10, number=2))
    assert desk.escrow.finish(second, beside, granted(10, number=1))
    assert desk.escrow.lease is not None
    assert desk.escrow.lease.heard == 2


def test_an_answer_that_took_longer_than_its_lease_lives_admits_nothing() -> None:
    desk = Desk()
    wanted = hold((WIDE, 10))
    asked = desk.ask(wanted)
    desk.now += 29.0
    assert not desk.escrow.finish(wanted, asked, granted(10))
    assert not desk.escrow.take(wanted)


def test_a_late_answer_takes_nothing_of_the_life_that_a_newer_one_gave() -> None:
    desk = Desk()
    asked = desk.ask(wanted := hold((WIDE, 10)))
    desk.now += 20.0
    desk.escrow.live(desk.now, 30.0)
    assert desk.escrow.finish(wanted, asked, granted(40))
    desk.now += 28.0
    assert desk.escrow.take(hold((WIDE, 10)))
    desk.now += 1.0
    assert not desk.escrow.take(hold((WIDE, 10)))


def test_what_is_left_goes_back_before_a_part_is_given_up() -> None:
    desk = Desk()
    call = hold((WIDE, 10))
    desk.has(call, 40)
    desk.escrow.settle(call.call_id)
    (first,) = desk.gives()
    assert (first.amount, first.total, first.is_last) == (40, 40, False)
    assert desk.gives() == []
    assert desk.escrow.lease is not None
    desk.escrow.sent(desk.escrow.lease, [first])
    (last,) = desk.gives()
    assert (last.amount, last.total, last.is_last, last.known) == (0, 40, True, 40)


def test_a_part_that_was_given_up_is_never_drawn_from_again() -> None:
    desk = Desk()
    call = hold((WIDE, 10))
    asked = desk.ask(call)
    desk.escrow.undo(asked)  # the answer was lost: something may have been granted
    (last,) = desk.gives()
    assert (last.is_last, last.known) == (True, 0)
    assert desk.escrow.lease is not None
    assert desk.escrow.unsent(desk.escrow.lease, [last]) == [last]
    following = desk.ask(call)
    assert following.wants[0].part > last.part
    assert following.wants[0].known == 0


def test_nobody_draws_from_a_part_while_it_is_given_up() -> None:
    desk = Desk()
    call = hold((WIDE, 10))
    desk.escrow.undo(desk.ask(call))
    (last,) = desk.gives()
    assert not isinstance(desk.escrow.begin(call), Ask)
    assert desk.escrow.lease is not None
    desk.escrow.sent(desk.escrow.lease, [last])
    assert desk.ask(call).wants[0].part > last.part


def test_with_an_authority_without_epochs_a_part_goes_on_when_giving_it_up_failed() -> None:
    desk = Desk()
    call = hold((WIDE, 10))
    asked = desk.ask(call)
    assert desk.escrow.finish(call, asked, Grant(totals=(10,)))
    desk.escrow.settle(call.call_id)
    assert desk.escrow.lease is not None
    desk.escrow.sent(desk.escrow.lease, desk.gives())
    (last,) = desk.gives()
    assert desk.escrow.unsent(desk.escrow.lease, [last]) == []
    following = desk.ask(call)
    assert (following.wants[0].part, following.wants[0].known) == (last.part, 10)


def test_messages_of_a_lease_that_is_over_are_told_again_as_they_are() -> None:
    desk = Desk()
    call = hold((WIDE, 10))
    old = desk.has(call, 10).lease
    given = GivenBack(account=WIDE, amount=3, total=3, part=1)
    desk.escrow.lose(old)
    assert desk.escrow.unsent(old, [given]) == [given]


def test_a_refusal_leaves_what_the_lease_had() -> None:
    desk = Desk()
    first = hold((WIDE, 10))
    desk.has(first, 40)
    wanted = hold((WIDE, 35))
    asked = desk.ask(wanted)
    desk.escrow.undo(asked)
    assert desk.escrow.take(hold((WIDE, 30)))
