"""What gets lost, comes twice or comes late on the way between a holder and the authority."""

from __future__ import annotations

import pytest

from tests.contract.authority.kits import Kit
from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tollspan.budget import Grant, LeaseLostError, Refusal

WIDE = account("wide", limit=16_000)
NARROW = account("narrow", limit=100)


def test_a_lost_answer_is_told_again_and_granted_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.sends(want(WIDE, 10, 40))
    assert holder.has(WIDE, 10, 40, known=0) == 40
    assert sums(kit.authority, WIDE) == (0, 40, 0)


def test_a_lost_answer_counts_toward_what_is_needed_now(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.sends(want(WIDE, 10))
    assert holder.has(WIDE, 25, 50, known=0) == 50
    assert sums(kit.authority, WIDE) == (0, 50, 0)


def test_a_lost_answer_is_told_where_no_more_would_fit(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.sends(want(NARROW, 100))
    assert holder.has(NARROW, 100, known=0) == 100
    assert sums(kit.authority, NARROW) == (0, 100, 0)


def test_a_lost_answer_stays_for_later_when_another_account_refuses(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.sends(want(WIDE, 10))
    assert isinstance(holder.sends(want(WIDE, 10), want(NARROW, 101)), Refusal)
    assert holder.has(WIDE, 10, known=0) == 10


def test_a_lost_answer_in_one_account_is_told_beside_a_grant_in_another(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.sends(want(WIDE, 10))
    answer = holder.sends(want(WIDE, 10), want(NARROW, 5))
    assert isinstance(answer, Grant)
    assert answer.totals == (10, 5)


def test_a_known_grant_is_beside_what_comes_now(kit: Kit) -> None:
    holder = Holder(kit.authority)
    assert holder.has(WIDE, 10) == 10
    assert holder.has(WIDE, 10, known=10) == 20
    assert sums(kit.authority, WIDE) == (0, 20, 0)


def test_what_was_given_back_or_spent_is_not_taken_for_a_lost_answer(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 10)
    holder.gives(WIDE, 4)
    holder.spends(WIDE, 6)
    assert holder.has(WIDE, 10, known=10) == 20
    assert sums(kit.authority, WIDE) == (6, 10, 0)


def test_what_goes_back_is_free_at_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    assert holder.gives(NARROW, 30) == 30.0
    assert sums(kit.other(), NARROW) == (0, 70, 0)
    assert Holder(kit.authority).has(NARROW, 30) == 30


def test_what_goes_back_twice_counts_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    holder.gives(NARROW, 30, total=30)
    holder.gives(NARROW, 30, total=30)
    assert sums(kit.authority, NARROW) == (0, 70, 0)
    holder.gives(NARROW, 5, total=35)
    holder.gives(NARROW, 30, total=30)
    assert sums(kit.authority, NARROW) == (0, 65, 0)


def test_a_lost_message_is_made_good_by_the_next(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    holder.gives(NARROW, 5, total=35)
    assert sums(kit.authority, NARROW) == (0, 65, 0)


def test_no_more_goes_back_than_is_there(kit: Kit) -> None:
    holder, other = Holder(kit.authority), Holder(kit.authority)
    holder.has(NARROW, 50)
    other.has(NARROW, 50)
    holder.spends(NARROW, 20)
    holder.gives(NARROW, 50)
    assert sums(kit.authority, NARROW) == (20, 50, 0)


def test_the_last_message_keeps_what_is_for_events_to_come(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    holder.gives(NARROW, 60, is_last=True, known=100)
    assert sums(kit.authority, NARROW) == (0, 40, 0)
    holder.spends(NARROW, 40)
    assert sums(kit.authority, NARROW) == (40, 0, 0)


def test_at_the_last_goes_back_what_the_holder_never_heard_of(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 10)
    holder.sends(want(WIDE, 20, known=10))
    holder.gives(WIDE, 7, is_last=True, known=10)
    assert sums(kit.authority, WIDE) == (0, 3, 0)


def test_a_part_begins_anew_after_the_last_message(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    holder.gives(NARROW, 100, is_last=True, known=100)
    answer = holder.asks(NARROW, 50, known=0, part=2)
    assert isinstance(answer, Grant)
    assert answer.totals == (50,)
    assert sums(kit.authority, NARROW) == (0, 50, 0)


def test_a_part_begins_anew_beside_what_is_for_events_to_come(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    holder.gives(NARROW, 10, is_last=True, known=40)
    answer = holder.asks(NARROW, 50, known=0, part=2)
    assert isinstance(answer, Grant)
    assert answer.totals == (50,)
    assert sums(kit.authority, NARROW) == (0, 80, 0)
    holder.spends(NARROW, 30)
    assert sums(kit.authority, NARROW) == (30, 50, 0)
    holder.gives(NARROW, 50, is_last=True, known=50, part=2)
    assert sums(kit.authority, NARROW) == (30, 0, 0)


def test_a_newer_part_begins_anew_where_the_last_message_was_lost(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    answer = holder.asks(NARROW, 50, known=0, part=2)
    assert isinstance(answer, Grant)
    assert answer.totals == (50,)
    assert sums(kit.authority, NARROW) == (0, 90, 0)


@pytest.mark.parametrize("known", [0, 40])
def test_a_late_question_about_an_old_part_grants_nothing(kit: Kit, known: int) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 40)
    holder.gives(WIDE, 30, is_last=True, known=40)
    holder.asks(WIDE, 50, part=2)
    before = sums(kit.authority, WIDE)
    with pytest.raises(LeaseLostError):
        holder.sends(want(WIDE, 10, known=known, part=1))
    assert sums(kit.authority, WIDE) == before
    assert kit.authority.epoch() is not None
    assert isinstance(holder.asks(WIDE, 1, known=50, part=2), Grant)


def test_a_late_question_about_a_part_that_is_over_shuts_nothing(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 40)
    holder.gives(WIDE, 40, is_last=True, known=40)
    with pytest.raises(LeaseLostError):
        holder.sends(want(WIDE, 10, known=40, part=1))
    assert sums(kit.authority, WIDE) == (0, 0, 0)
    assert kit.authority.epoch() is not None


def test_what_goes_back_of_an_old_part_comes_too_late(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 40)
    holder.gives(WIDE, 40, is_last=True, known=40)
    holder.asks(WIDE, 50, part=2)
    holder.gives(WIDE, 40, part=1)
    holder.gives(WIDE, 40, is_last=True, known=40, part=1)
    assert sums(kit.authority, WIDE) == (0, 50, 0)


def test_the_last_message_comes_twice(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 40)
    for _ in range(2):
        assert holder.gives(WIDE, 40, is_last=True, known=40) == 30.0
    assert sums(kit.authority, WIDE) == (0, 0, 0)
    assert kit.authority.epoch() is not None


def test_a_message_of_a_lease_that_never_got_anything_changes_nothing(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.gives(NARROW, 0, is_last=True, known=0)
    holder.renews()
    assert sums(kit.authority, NARROW) == (0, 0, 0)
    assert holder.has(NARROW, 10) == 10


def test_a_call_that_is_told_twice_is_settled_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 100)
    told = holder.spends(NARROW, 30, unresolved=5)
    kit.authority.settle([told])
    kit.other().settle([told, told])
    assert sums(kit.authority, NARROW) == (30, 65, 5)


def test_calls_are_settled_in_any_order_and_many_at_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(WIDE, 1_000)
    told = [settlement(holder.lease.id, (WIDE, amount, 0)) for amount in range(1, 41)]
    kit.authority.settle(told[::2])
    kit.authority.settle(told[::-1])
    assert sums(kit.authority, WIDE) == (820, 180, 0)


def test_nothing_to_settle_is_no_trouble(kit: Kit) -> None:
    kit.authority.settle([])
    kit.authority.settle([settlement(None)])
    assert sums(kit.authority, NARROW) == (0, 0, 0)
