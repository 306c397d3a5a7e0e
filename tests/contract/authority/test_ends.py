"""How leases end, and what becomes of what they hold."""

from __future__ import annotations

import pytest

from tests.contract.authority.kits import FOREVER, SETTINGS, Kit
from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tollspan.budget import Grant, LeaseLostError, Refusal
from tollspan.usage import LedgerError

LIFE = SETTINGS.life_seconds
HORIZON = SETTINGS.horizon_seconds
NARROW = account("narrow", limit=100)
OTHER = account("other", limit=100, period="2026-11", unit="tokens")


def test_a_lease_that_is_over_leaves_what_it_holds_unresolved(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    assert kit.authority.expire() == 1
    assert kit.authority.expire() == 0
    assert sums(kit.authority, NARROW) == (0, 0, 40)
    (left,) = kit.authority.unresolved()
    assert (left.lease_id, left.amount) == (holder.lease.id, 40)
    assert left.account == account("narrow", limit=0)


def test_a_lease_lives_to_its_end(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE - 2)
    assert kit.authority.expire() == 0
    assert sums(kit.authority, NARROW) == (0, 40, 0)
    assert holder.has(NARROW, 10, known=40) == 50


@pytest.mark.parametrize("how", ["grant", "give back", "renew"])
def test_every_message_renews_a_lease(kit: Kit, how: str) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE - 5)
    if how == "grant":
        holder.has(NARROW, 1, known=40)
    elif how == "give back":
        assert holder.gives(NARROW, 1) == LIFE
    else:
        assert holder.renews() == LIFE
    kit.advance(LIFE - 5)
    assert kit.authority.expire() == 0
    kit.advance(6)
    assert kit.authority.expire() == 1


def test_a_refusal_does_not_end_a_lease(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    assert isinstance(holder.asks(NARROW, 61, known=40), Refusal)
    assert sums(kit.authority, NARROW) == (0, 40, 0)


def test_nothing_is_granted_under_a_lease_that_is_over(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    with pytest.raises(LeaseLostError):
        holder.sends(want(NARROW, 10, known=40))
    assert sums(kit.authority, NARROW) == (0, 0, 40)
    assert kit.authority.epoch() is not None


def test_nothing_goes_back_under_a_lease_that_is_over(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    with pytest.raises(LeaseLostError):
        holder.gives(NARROW, 40)
    with pytest.raises(LeaseLostError):
        holder.renews()
    assert sums(kit.authority, NARROW) == (0, 0, 40)


def test_the_next_lease_of_a_holder_is_another(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    following = Holder(kit.authority, fence=2)
    assert following.has(NARROW, 60) == 60
    assert sums(kit.authority, NARROW) == (0, 60, 40)


def test_any_grant_ends_leases_that_are_over(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 40)
    kit.advance(LIFE)
    Holder(kit.authority).has(OTHER, 1)
    assert sums(kit.authority, NARROW) == (0, 0, 40)


def test_only_what_it_does_not_account_for_stays_unresolved(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    holder.gives(NARROW, 15)
    holder.spends(NARROW, 20)
    kit.advance(LIFE)
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (20, 0, 5)


def test_a_lease_with_nothing_left_leaves_nothing_unresolved(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    holder.spends(NARROW, 40)
    kit.advance(LIFE)
    assert kit.authority.expire() == 1
    assert kit.authority.unresolved() == ()


def test_what_is_unresolved_is_listed_oldest_first(kit: Kit) -> None:
    first, second = Holder(kit.authority), Holder(kit.authority)
    second.has(NARROW, 30)
    kit.advance(5)
    first.has(OTHER, 10)
    kit.advance(LIFE)
    kit.authority.expire()
    found = kit.authority.unresolved()
    assert [(one.lease_id, one.account.budget_id, one.amount) for one in found] == [
        (second.lease.id, "narrow", 30),
        (first.lease.id, "other", 10),
    ]
    assert found[1].account == account("other", limit=0, period="2026-11", unit="tokens")
    later = found[1].since_unix_ns - found[0].since_unix_ns
    assert later == pytest.approx(5e9, abs=2e9)


def test_what_ended_since_a_moment_is_listed_alone(kit: Kit) -> None:
    for amount in (10, 20):
        Holder(kit.authority).has(NARROW, amount)
        kit.advance(LIFE)
    kit.authority.expire()
    first, second = kit.authority.unresolved()
    assert kit.authority.unresolved(since_unix_ns=first.since_unix_ns) == (first, second)
    assert kit.authority.unresolved(since_unix_ns=first.since_unix_ns + 1) == (second,)
    assert kit.authority.unresolved(since_unix_ns=second.since_unix_ns + 1) == ()


def test_a_late_event_takes_down_what_is_unresolved(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    kit.authority.expire()
    holder.spends(NARROW, 30, unresolved=4)
    assert sums(kit.authority, NARROW) == (30, 0, 10)
    assert [one.amount for one in kit.authority.unresolved()] == [6]
    holder.spends(NARROW, 6)
    assert sums(kit.authority, NARROW) == (36, 0, 4)
    assert kit.authority.unresolved() == ()


def test_an_event_before_anybody_notices_the_end_counts_the_same(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    holder.spends(NARROW, 30)
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (30, 0, 10)


def test_beyond_the_horizon_it_is_taken_for_spent(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 40)
    kit.advance(LIFE)
    kit.authority.expire()
    kit.advance(HORIZON - 2)
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (0, 0, 40)
    kit.advance(2)
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (40, 0, 0)
    assert kit.authority.unresolved() == ()


def test_the_horizon_counts_from_the_end_of_the_lease(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 40)
    kit.advance(LIFE + HORIZON)
    assert kit.authority.expire() == 1
    assert sums(kit.authority, NARROW) == (40, 0, 0)


def test_an_event_beyond_the_horizon_is_counted_once(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE + HORIZON)
    kit.authority.expire()
    told = holder.spends(NARROW, 30)
    kit.authority.settle([told])
    assert sums(kit.authority, NARROW) == (40, 0, 0)
    holder.spends(NARROW, 25)
    assert sums(kit.authority, NARROW) == (55, 0, 0)


def test_an_event_beyond_the_horizon_may_leave_something_unresolved(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE + HORIZON)
    kit.authority.expire()
    holder.spends(NARROW, 10, unresolved=20)
    assert sums(kit.authority, NARROW) == (20, 0, 20)


def test_a_late_event_never_draws_from_another_lease(kit: Kit) -> None:
    holder, other = Holder(kit.authority), Holder(kit.authority)
    holder.has(NARROW, 10)
    other.has(NARROW, 30)
    kit.advance(LIFE - 5)
    other.renews()
    kit.advance(6)
    kit.authority.expire()
    holder.spends(NARROW, 25)
    assert sums(kit.authority, NARROW) == (25, 30, 0)


def test_what_a_call_cost_beyond_its_hold_is_not_drawn(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.authority.settle([settlement(holder.lease.id, (NARROW, 25, 0), drawn=10)])
    assert sums(kit.authority, NARROW) == (25, 30, 0)


def test_an_event_without_a_lease_is_posted(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 40)
    kit.authority.settle([settlement(None, (NARROW, 25, 3))])
    assert sums(kit.authority, NARROW) == (25, 40, 3)


def test_an_event_of_a_lease_that_nobody_knows_is_posted(kit: Kit) -> None:
    kit.authority.settle([settlement("nobody/1", (NARROW, 25, 0))])
    assert sums(kit.authority, NARROW) == (25, 0, 0)


def test_an_event_may_post_more_than_the_limit(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.authority.settle([settlement(holder.lease.id, (NARROW, 250, 0))])
    assert sums(kit.authority, NARROW) == (250, 0, 0)


@pytest.mark.parametrize("spent", [0, 25, 40])
def test_an_operator_says_how_much_was_spent(kit: Kit, spent: int) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    kit.authority.expire()
    kit.authority.resolve(holder.lease.id, account("narrow", limit=0), spent=spent)
    assert sums(kit.authority, NARROW) == (spent, 0, 0)
    assert kit.authority.unresolved() == ()
    kit.advance(HORIZON)
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (spent, 0, 0)


def test_an_event_after_an_operator_spoke_is_counted_beside_it(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE)
    kit.authority.expire()
    kit.authority.resolve(holder.lease.id, NARROW, spent=25)
    holder.spends(NARROW, 10)
    assert sums(kit.authority, NARROW) == (35, 0, 0)


@pytest.mark.parametrize("state", ["unknown", "open", "resolved", "written off"])
def test_only_what_is_unresolved_can_be_resolved(kit: Kit, state: str) -> None:
    holder = Holder(kit.authority)
    if state != "unknown":
        holder.has(NARROW, 40)
    if state == "resolved":
        kit.advance(LIFE)
        kit.authority.expire()
        kit.authority.resolve(holder.lease.id, NARROW, spent=40)
    if state == "written off":
        kit.advance(LIFE + HORIZON)
        kit.authority.expire()
    before = sums(kit.authority, NARROW)
    with pytest.raises(LedgerError):
        kit.authority.resolve(holder.lease.id, NARROW, spent=0)
    assert sums(kit.authority, NARROW) == before


def test_what_ended_long_ago_is_forgotten_but_stays_spent(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.advance(LIFE + HORIZON)
    kit.authority.expire()
    kit.advance(FOREVER)
    kit.authority.expire()
    kit.authority.expire()
    assert sums(kit.authority, NARROW) == (40, 0, 0)


def test_a_call_is_settled_once_for_as_long_as_a_lease_and_more(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    told = holder.spends(NARROW, 10)
    kit.advance(HORIZON + 34 * 86_400)
    kit.authority.expire()
    kit.authority.settle([settlement(None, (OTHER, 1, 0)), told])
    assert sums(kit.authority, NARROW)[0] == 40


def test_an_answer_that_was_lost_is_unresolved_when_the_lease_is_over(kit: Kit) -> None:
    holder = Holder(kit.authority)
    assert isinstance(holder.sends(want(NARROW, 40)), Grant)
    kit.advance(LIFE)
    with pytest.raises(LeaseLostError):
        holder.sends(want(NARROW, 40))
    assert sums(kit.authority, NARROW) == (0, 0, 40)
