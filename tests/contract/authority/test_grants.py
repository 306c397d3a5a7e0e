"""What is granted: all or none, as much as `size` says, never beyond a limit."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.authority.kits import Kit
from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tollspan.budget import ROOM_SHARE, Balance, Grant, Refusal, size

WIDE = account("wide", limit=1_600)
NARROW = account("narrow", limit=100)


def test_a_grant_is_held_at_once(kit: Kit) -> None:
    assert Holder(kit.authority).has(WIDE, 10, 40) == 40
    assert sums(kit.other(), WIDE) == (0, 40, 0)


def test_a_grant_says_how_long_its_lease_lives_and_in_which_epoch(kit: Kit) -> None:
    answer = Holder(kit.authority).sends(want(WIDE, 1))
    assert isinstance(answer, Grant)
    assert answer.life_seconds == 30.0
    assert answer.epoch is not None
    assert answer.epoch == kit.authority.epoch()
    assert answer.number == 1


@pytest.mark.parametrize(
    ("spent", "need", "wish"),
    [
        pytest.param(0, 10, 50, id="as much as is wished"),
        pytest.param(0, 10, 500, id="a share of the room"),
        pytest.param(1_200, 10, 500, id="a share of what is left of the room"),
        pytest.param(1_590, 10, 500, id="what is needed, to the last unit"),
        pytest.param(0, 0, 0, id="nothing"),
        pytest.param(1_600, 0, 50, id="nothing, where nothing is left"),
        pytest.param(3, 0, 7, id="what is wished, where nothing is needed"),
    ],
)
def test_so_much_is_granted_as_the_rule_says(kit: Kit, spent: int, need: int, wish: int) -> None:
    kit.authority.settle([settlement(None, (WIDE, spent, 0))])
    expected = size(need=need, wish=wish, room=1_600 - spent)
    assert Holder(kit.authority).has(WIDE, need, wish) == expected
    assert sums(kit.authority, WIDE) == (spent, expected, 0)


def test_what_does_not_fit_is_refused_and_nothing_is_held(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 60)
    answer = Holder(kit.authority).asks(NARROW, 41)
    assert answer == Refusal(balances=(Balance(account=NARROW, held=60),), asked=(41,))
    assert sums(kit.authority, NARROW) == (0, 60, 0)


def test_what_just_fits_is_granted(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 60)
    assert Holder(kit.authority).has(NARROW, 40) == 40
    assert isinstance(Holder(kit.authority).asks(NARROW, 1), Refusal)


def test_it_grants_in_every_account_or_in_none(kit: Kit) -> None:
    answer = Holder(kit.authority).sends(want(WIDE, 101), want(NARROW, 101))
    assert isinstance(answer, Refusal)
    assert [one.account for one in answer.balances] == [NARROW]
    assert sums(kit.authority, WIDE) == (0, 0, 0)
    answer = Holder(kit.authority).sends(want(WIDE, 100), want(NARROW, 100))
    assert isinstance(answer, Grant)
    assert answer.totals == (100, 100)


def test_totals_are_in_the_order_of_the_wants(kit: Kit) -> None:
    answer = Holder(kit.authority).sends(want(NARROW, 7), want(WIDE, 9))
    assert isinstance(answer, Grant)
    assert answer.totals == (7, 9)


def test_posted_held_and_unresolved_all_count(kit: Kit) -> None:
    kit.authority.settle([settlement(None, (NARROW, 30, 20))])
    Holder(kit.authority).has(NARROW, 40)
    answer = Holder(kit.authority).asks(NARROW, 11)
    assert isinstance(answer, Refusal)
    assert answer.balances == (Balance(account=NARROW, posted=30, held=40, unresolved=20),)


def test_nothing_fits_a_limit_of_zero(kit: Kit) -> None:
    assert isinstance(Holder(kit.authority).asks(account(limit=0), 0), Refusal)


def test_accounts_of_other_periods_scopes_and_units_are_others(kit: Kit) -> None:
    others = [
        msgspec.structs.replace(NARROW, period="2026-11"),
        msgspec.structs.replace(NARROW, scope='{"customer":"acmé \\ud83d\\ude00 it\'s"}'),
        msgspec.structs.replace(NARROW, unit="tokens"),
    ]
    for where in [NARROW, *others]:
        assert Holder(kit.authority).has(where, 100) == 100


def test_each_want_goes_by_its_own_limit(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 60)
    lowered = msgspec.structs.replace(NARROW, limit=50)
    raised = msgspec.structs.replace(NARROW, limit=200)
    assert isinstance(Holder(kit.authority).asks(lowered, 0), Refusal)
    assert isinstance(Holder(kit.authority).asks(lowered, 1), Refusal)
    assert Holder(kit.authority).has(raised, 140) == 140
    assert isinstance(Holder(kit.authority).asks(NARROW, 1), Refusal)
    assert sums(kit.authority, NARROW) == (0, 200, 0)


def test_what_is_leased_stays_so_when_the_limit_is_lowered(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 60)
    assert isinstance(holder.asks(msgspec.structs.replace(NARROW, limit=50), 1, known=60), Refusal)
    assert sums(kit.authority, NARROW) == (0, 60, 0)
    holder.spends(NARROW, 60)
    assert sums(kit.authority, NARROW) == (60, 0, 0)


def test_a_soft_account_gets_what_is_needed_and_is_told_of(kit: Kit) -> None:
    soft = account("soft", limit=10, is_soft=True)
    holder = Holder(kit.authority)
    answer = holder.sends(want(soft, 12, 100), want(WIDE, 5))
    assert isinstance(answer, Grant)
    assert answer.totals == (12, 5)
    assert answer.short == Refusal(balances=(Balance(account=soft),), asked=(12,), is_held=True)


def test_a_soft_account_with_room_is_sized_as_any(kit: Kit) -> None:
    soft = account("soft", limit=1_600, is_soft=True)
    answer = Holder(kit.authority).sends(want(soft, 12, 500))
    assert isinstance(answer, Grant)
    assert answer.totals == (1_600 // ROOM_SHARE,)
    assert answer.short is None


def test_a_soft_account_gets_nothing_when_a_hard_one_refuses(kit: Kit) -> None:
    soft = account("soft", limit=10, is_soft=True)
    answer = Holder(kit.authority).sends(want(soft, 12), want(NARROW, 101))
    assert isinstance(answer, Refusal)
    assert [one.account for one in answer.balances] == [NARROW]
    assert not answer.is_held
    assert sums(kit.authority, soft) == (0, 0, 0)


def test_amounts_are_exact_up_to_the_largest(kit: Kit) -> None:
    huge = account("huge", limit=kit.largest)
    spent = kit.largest - 1_003
    kit.authority.settle([settlement(None, (huge, spent, 0))])
    assert isinstance(Holder(kit.authority).asks(huge, 1_004), Refusal)
    holder = Holder(kit.authority)
    assert holder.has(huge, 1_001) == 1_001
    assert isinstance(Holder(kit.authority).asks(huge, 3), Refusal)
    assert holder.has(huge, 2, known=1_001) == 1_003
    assert sums(kit.authority, huge) == (spent, 1_003, 0)
    holder.spends(huge, 1_003)
    assert sums(kit.authority, huge) == (kit.largest, 0, 0)


def test_asked_without_waiting_it_answers_or_is_busy_but_never_does_half(kit: Kit) -> None:
    answer = kit.authority.grant_now(Holder(kit.authority).lease, [want(NARROW, 70)])
    held = 70 if isinstance(answer, Grant) else 0
    assert sums(kit.authority, NARROW) == (0, held, 0)
