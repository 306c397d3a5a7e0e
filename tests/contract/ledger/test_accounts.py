"""What every authority and its books promise, in amounts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import pytest

from tests.contract.ledger.kits import Kit
from tests.contract.ledger.making import (
    NOON_UNIX_NS,
    account,
    charge,
    event,
    hold,
    new_id,
    refused,
    settled,
)
from tollspan.budget import Balance, Busy, Hold, Refusal

T = TypeVar("T")
INT64 = (1 << 63) - 1
DEAREST_LIMIT = 1 << 60


def not_busy(action: Callable[[], T | Busy]) -> T:
    """Ask until nobody else has the ledger: its own thread may, for a moment."""
    while True:
        answer = action()
        if not isinstance(answer, Busy):
            return answer


def test_a_hold_that_fits_counts_at_once(kit: Kit) -> None:
    all_ = account(limit=100)
    assert kit.ledger.hold(hold((all_, 60))) is None
    assert kit.balance(all_) == (0, 60, 0)


@pytest.mark.parametrize(
    ("amount", "fits"),
    [
        pytest.param(40, True, id="to the last nano-USD"),
        pytest.param(41, False, id="one nano-USD too much"),
    ],
)
def test_a_hold_may_fill_the_limit_and_not_pass_it(kit: Kit, amount: int, fits: bool) -> None:
    all_ = account(limit=100)
    kit.ledger.hold(hold((all_, 60)))
    answer = kit.ledger.hold(hold((all_, amount)))
    assert (answer is None) is fits
    assert kit.balance(all_) == (0, 60 + (amount if fits else 0), 0)


def test_a_refusal_says_which_accounts_are_short_and_how_they_stand(kit: Kit) -> None:
    wide, narrow = account("wide", limit=100), account("narrow", limit=50)
    first = hold((wide, 30), (narrow, 30))
    kit.ledger.hold(first)
    kit.ledger.post(settled(first, 10, unresolved=5), first)
    kit.ledger.hold(hold((wide, 20), (narrow, 20)))
    answer = kit.ledger.hold(hold((wide, 25), (narrow, 25)))
    assert isinstance(answer, Refusal)
    assert answer.asked == (25,)
    assert [(one.account, one.posted, one.held, one.unresolved) for one in answer.balances] == [
        (narrow, 10, 20, 5)
    ]


@pytest.mark.parametrize("short", range(3))
def test_a_hold_is_made_in_every_account_or_in_none(kit: Kit, short: int) -> None:
    accounts = [account(f"b{number}", limit=10 if number == short else 100) for number in range(3)]
    refusal = kit.ledger.hold(hold(*((one, 11) for one in accounts)))
    assert isinstance(refusal, Refusal)
    assert [one.account.budget_id for one in refusal.balances] == [f"b{short}"]
    assert [kit.balance(one) for one in accounts] == [(0, 0, 0)] * 3


def test_a_refused_call_leaves_nothing_that_could_be_settled(kit: Kit) -> None:
    wide, narrow = account("wide", limit=100), account("narrow", limit=1)
    never = hold((wide, 50), (narrow, 50))
    assert kit.ledger.hold(never) is not None
    kit.ledger.release_soon(never.call_id)
    kit.drain()
    assert kit.balance(wide) == kit.balance(narrow) == (0, 0, 0)


def test_settling_gives_back_what_the_call_did_not_cost(kit: Kit) -> None:
    all_ = account(limit=100)
    held = hold((all_, 90))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 30), held)
    assert kit.balance(all_) == (30, 0, 0)
    assert kit.ledger.hold(hold((all_, 70))) is None
    assert kit.ledger.hold(hold((all_, 1))) is not None


def test_a_call_that_cost_more_than_it_held_is_posted_in_full_and_closes_the_account(
    kit: Kit,
) -> None:
    all_ = account(limit=100)
    held = hold((all_, 90))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 120), held)
    assert kit.balance(all_) == (120, 0, 0)
    assert kit.ledger.hold(hold((all_, 0))) is not None


@pytest.mark.parametrize("again", [30, 99], ids=["the same event", "another amount"])
def test_an_event_that_is_there_already_changes_nothing(kit: Kit, again: int) -> None:
    all_ = account(limit=100)
    held = hold((all_, 40))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 30), held)
    kit.ledger.post(settled(held, again), held)
    kit.ledger.post(settled(held, again), None)
    kit.ledger.rescue(settled(held, again), held)
    assert not_busy(lambda: kit.ledger.post_now(settled(held, again), held)) is None
    kit.ledger.post_soon(settled(held, again), held).result(10)
    kit.drain()
    assert kit.balance(all_) == (30, 0, 0)
    assert kit.events() == [settled(held, 30)]


@pytest.mark.parametrize("limit", [100, 50], ids=["room for two", "no room for two"])
def test_a_hold_that_is_asked_for_twice_is_held_once(kit: Kit, limit: int) -> None:
    all_, other = account(limit=limit), account("other", limit=100)
    held = hold((all_, 40), (other, 40))
    assert kit.ledger.hold(held) is None
    assert kit.ledger.hold(held) is None
    assert kit.balance(all_) == kit.balance(other) == (0, 40, 0)
    kit.ledger.post(settled(held, 10), held)
    assert kit.balance(all_) == kit.balance(other) == (10, 0, 0)


def test_a_call_that_is_never_made_gives_everything_back(kit: Kit) -> None:
    all_, other = account(limit=100), account("other", limit=100)
    held = hold((all_, 40), (other, 40))
    kit.ledger.hold(held)
    kit.ledger.release_soon(held.call_id)
    kit.ledger.release_soon(held.call_id)
    kit.ledger.release_soon(new_id())
    kit.drain()
    assert kit.balance(all_) == kit.balance(other) == (0, 0, 0)


def test_a_release_after_the_event_takes_nothing_back(kit: Kit) -> None:
    all_ = account(limit=100)
    held = hold((all_, 40))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 30), held)
    kit.ledger.release_soon(held.call_id)
    kit.drain()
    assert kit.balance(all_) == (30, 0, 0)


def test_what_may_have_been_spent_stays_counted(kit: Kit) -> None:
    all_ = account(limit=100)
    held = hold((all_, 90))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 10, unresolved=80), held)
    assert kit.balance(all_) == (10, 0, 80)
    assert kit.ledger.hold(hold((all_, 10))) is None
    assert kit.ledger.hold(hold((all_, 1))) is not None


def test_an_event_without_a_hold_is_charged_by_the_names_in_it(kit: Kit) -> None:
    known, unknown = account("known", limit=100), account("unknown", limit=100)
    kit.ledger.hold(hold((known, 20)))
    kit.ledger.post(
        event(new_id(), charge(known, posted=5, unresolved=1), charge(unknown, posted=5)), None
    )
    assert kit.balance(known) == (5, 20, 1)
    assert kit.balance(unknown) == (5, 0, 0)
    assert kit.ledger.hold(hold((unknown, 95))) is None
    assert kit.ledger.hold(hold((unknown, 1))) is not None


def test_a_rescued_event_settles_what_its_call_held(kit: Kit) -> None:
    all_ = account(limit=100)
    held = hold((all_, 90))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 30), None)
    assert kit.balance(all_) == (30, 0, 0)


def test_an_event_whose_hold_was_never_made_is_charged_all_the_same(kit: Kit) -> None:
    all_ = account(limit=100)
    allowed_in_an_outage = hold((all_, 90))
    kit.ledger.post(settled(allowed_in_an_outage, 30), allowed_in_an_outage)
    assert kit.balance(all_) == (30, 0, 0)


def test_a_call_outside_every_budget_is_kept_and_charges_nobody(kit: Kit) -> None:
    all_ = account(limit=100)
    kit.ledger.hold(hold((all_, 20)))
    kit.ledger.post(event(new_id(), cost=7), None)
    assert kit.balance(all_) == (0, 20, 0)
    assert [one.cost.amount_nanousd for one in kit.events()] == [7]


def test_each_hold_is_checked_against_the_limit_of_its_own_rules(kit: Kit) -> None:
    for limit, amount, fits in [
        (100, 60, True),
        (200, 120, True),  # raised
        (100, 1, False),  # back again, below what is held
        (180, 1, False),
        (181, 1, True),
        (100, 0, False),
        (200, 19, True),
    ]:
        all_ = account(limit=limit)
        refusal = kit.ledger.hold(hold((all_, amount)))
        assert (refusal is None) is fits, limit
        if refusal is not None:
            assert [one.account.limit for one in refusal.balances] == [limit]
        assert kit.limit(all_) == limit


def test_two_limits_for_one_account_at_the_same_time_refuse_by_their_own(kit: Kit) -> None:
    old, new = account(limit=100), account(limit=50)
    assert kit.ledger.hold(hold((old, 40))) is None
    assert kit.ledger.hold(hold((new, 20))) is not None
    refusal = kit.ledger.hold(hold((old, 70)))
    assert isinstance(refusal, Refusal)
    assert [one.account.limit for one in refusal.balances] == [100]
    assert kit.ledger.hold(hold((old, 60))) is None


@pytest.mark.parametrize(
    "amount", [INT64, INT64 + 1, 1 << 80], ids=["int64", "int64 and 1", "80 bits"]
)
def test_a_hold_too_large_to_count_is_refused_everywhere(kit: Kit, amount: int) -> None:
    small, large = account("small", limit=100), account("large", limit=DEAREST_LIMIT)
    assert kit.ledger.hold(hold((large, 1))) is None
    refusal = kit.ledger.hold(hold((large, amount), (small, amount)))
    assert isinstance(refusal, Refusal)
    assert refusal.asked == (amount, amount)
    assert [one.account.budget_id for one in refusal.balances] == ["large", "small"]
    assert kit.balance(large) == (0, 1, 0)
    assert kit.ledger.hold(hold((large, DEAREST_LIMIT - 1), (small, 100))) is None


@pytest.mark.parametrize("cost", [INT64, INT64 + 1, 1 << 80])
def test_a_cost_too_large_to_count_closes_the_account_and_is_kept_exactly(
    kit: Kit, cost: int
) -> None:
    large = account("large", limit=DEAREST_LIMIT)
    for _ in range(9):  # so often that the sums would pass 63 bits
        held = hold((large, 0))
        kit.ledger.hold(held)
        kit.ledger.post(settled(held, cost, unresolved=cost), held)
    posted, now_held, unresolved = kit.balance(large)
    assert posted >= DEAREST_LIMIT
    assert unresolved >= DEAREST_LIMIT
    assert now_held == 0
    assert kit.ledger.hold(hold((large, 1))) is not None
    assert [one.cost.amount_nanousd for one in kit.events()] == [cost] * 9


def test_a_call_over_midnight_is_charged_to_the_day_that_it_began(kit: Kit) -> None:
    monday, tuesday = account(period="2026-11-23"), account(period="2026-11-24")
    late = hold((monday, 60))
    kit.ledger.hold(late)
    assert kit.ledger.hold(hold((tuesday, 100))) is None
    kit.ledger.post(settled(late, 50), late)
    assert kit.balance(monday) == (50, 0, 0)
    assert kit.balance(tuesday) == (0, 100, 0)


def test_a_refusal_that_is_kept_costs_nothing(kit: Kit) -> None:
    all_ = account(limit=100)
    kit.ledger.hold(hold((all_, 10)))
    kit.ledger.note(refused(new_id()))
    kit.drain()
    assert kit.balance(all_) == (0, 10, 0)
    assert kit.events() == []


def test_the_four_ways_to_hold_and_post_agree(kit: Kit) -> None:
    all_ = account(limit=100)
    kit.ledger.hold(hold((all_, 0)))
    at_once, soon = hold((all_, 30)), hold((all_, 30))
    assert not_busy(lambda: kit.ledger.hold_now(at_once)) is None
    assert kit.ledger.hold_soon(soon).result(10) is None
    refused_at_once = hold((all_, 41))
    assert isinstance(not_busy(lambda: kit.ledger.hold_now(refused_at_once)), Refusal)
    assert isinstance(kit.ledger.hold_soon(hold((all_, 41))).result(10), Refusal)
    assert not_busy(lambda: kit.ledger.post_now(settled(at_once, 7), at_once)) is None
    kit.ledger.post_soon(settled(soon, 8), soon).result(10)
    assert kit.balance(all_) == (15, 0, 0)


def test_a_hold_nobody_waits_for_any_more_holds_nothing_after_its_release(kit: Kit) -> None:
    all_ = account(limit=100)
    wanted = hold((all_, 60))
    kit.ledger.hold_soon(wanted).cancel()
    kit.ledger.release_soon(wanted.call_id)
    kit.drain()
    assert kit.balance(all_) == (0, 0, 0)
    assert kit.ledger.hold(hold((all_, 100))) is None


def test_many_threads_hold_no_more_than_the_limit_together(kit: Kit) -> None:
    all_, other = account(limit=1000), account("other", limit=700)
    results: list[bool] = []
    barrier = threading.Barrier(20)

    def work() -> None:
        barrier.wait()
        for _ in range(10):
            held = hold((all_, 7), (other, 7))
            answer = kit.ledger.hold(held)
            results.append(answer is None)
            if answer is None:
                kit.ledger.post(settled(held, 7), held)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 100
    assert kit.balance(all_) == kit.balance(other) == (700, 0, 0)
    assert len(kit.events()) == 100


def test_holds_come_back_at_once_or_say_that_somebody_else_is_at_it(kit: Kit) -> None:
    all_ = account(limit=1000)
    answers: list[object] = []
    done = threading.Event()

    def others() -> None:
        while not done.is_set():
            held = hold((all_, 1))
            kit.ledger.hold(held)
            kit.ledger.release_soon(held.call_id)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for _ in range(50):
            answers.append(kit.ledger.hold_now(hold((all_, 1))))
    finally:
        done.set()
        thread.join()
    kit.drain()
    made = sum(answer is None for answer in answers)
    assert all(answer is None or isinstance(answer, Busy) for answer in answers)
    assert kit.balance(all_) == (0, made, 0)


def test_every_order_of_event_release_and_second_event_ends_in_the_same_account(
    kit: Kit,
) -> None:
    for number, order in enumerate(itertools.permutations(("post", "release", "again"))):
        one = account(f"b{number}", limit=100)
        held = hold((one, 50))
        kit.ledger.hold(held)
        for step in order:
            if step == "release":
                kit.ledger.release_soon(held.call_id)
                kit.drain()
            else:
                kit.ledger.post(settled(held, 30), held)
        assert kit.balance(one) == (30, 0, 0), order


def test_nothing_fits_a_limit_of_0_not_even_what_costs_nothing(kit: Kit) -> None:
    closed = account(limit=0)
    for amount in (0, 1):
        refusal = kit.ledger.hold(hold((closed, amount)))
        assert isinstance(refusal, Refusal)
        assert not refusal.is_held
    assert kit.balance(closed) == (0, 0, 0)


def test_a_soft_account_counts_past_its_limit_and_says_so(kit: Kit) -> None:
    soft, hard = account("soft", limit=50, is_soft=True), account("hard", limit=100)
    assert kit.ledger.hold(hold((soft, 50), (hard, 50))) is None
    past = hold((soft, 30), (hard, 30))
    answer = kit.ledger.hold(past)
    assert isinstance(answer, Refusal)
    assert answer.is_held
    assert [(one.account, one.held) for one in answer.balances] == [(soft, 50)]
    assert answer.asked == (30,)
    assert kit.balance(soft) == kit.balance(hard) == (0, 80, 0)
    assert kit.limit(soft) == 50
    kit.ledger.post(settled(past, 20), past)
    assert kit.balance(soft) == kit.balance(hard) == (20, 50, 0)


def test_a_hard_account_that_is_short_refuses_whatever_soft_ones_say(kit: Kit) -> None:
    soft, hard = account("soft", limit=10, is_soft=True), account("hard", limit=100)
    answer = kit.ledger.hold(hold((soft, 101), (hard, 101)))
    assert isinstance(answer, Refusal)
    assert not answer.is_held
    assert [one.account for one in answer.balances] == [hard]
    assert kit.balance(soft) == kit.balance(hard) == (0, 0, 0)


@pytest.mark.parametrize("amount", [DEAREST_LIMIT, INT64 + 1], ids=["large", "beyond 64 bits"])
def test_a_soft_account_never_refuses_whatever_is_asked(kit: Kit, amount: int) -> None:
    soft = account(limit=10, is_soft=True)
    for _ in range(3):
        answer = kit.ledger.hold(hold((soft, amount)))
        assert isinstance(answer, Refusal)
        assert answer.is_held


def test_a_soft_account_never_refuses_whatever_was_spent(kit: Kit) -> None:
    soft, hard = account("soft", limit=10, is_soft=True), account("hard", limit=100)
    for _ in range(9):  # so often that the sums would pass 63 bits
        kit.ledger.post(event(new_id(), charge(soft, posted=INT64, unresolved=INT64)), None)
    for amount in (0, 1, DEAREST_LIMIT):
        answer = kit.ledger.hold(hold((soft, amount), (hard, min(amount, 20))))
        assert isinstance(answer, Refusal)
        assert answer.is_held
        assert [one.account for one in answer.balances] == [soft]
    assert kit.balance(hard) == (0, 21, 0)
    answer = kit.ledger.hold(hold((soft, 1), (hard, 80)))
    assert isinstance(answer, Refusal)
    assert not answer.is_held


def test_who_asks_twice_of_a_soft_account_holds_once(kit: Kit) -> None:
    soft, hard = account("soft", limit=10, is_soft=True), account("hard", limit=100)
    twice = hold((soft, 30), (hard, 30))
    for _ in range(2):
        answer = kit.ledger.hold(twice)
        assert answer is None or answer.is_held
    assert kit.balance(soft) == kit.balance(hard) == (0, 30, 0)


def test_one_budget_in_two_units_is_two_accounts(kit: Kit) -> None:
    money, tokens = account(limit=100), account(limit=5, unit="tokens")
    both = Hold(
        call_id=new_id(),
        started_at_unix_ns=NOON_UNIX_NS,
        legs=((money, 90), (tokens, 5)),
        is_money=False,
    )
    assert kit.ledger.hold(both) is None
    kit.ledger.post(
        event(both.call_id, charge(money, posted=70), charge(tokens, posted=3)),
        both,
    )
    assert kit.balance(money) == (70, 0, 0)
    assert kit.balance(tokens) == (3, 0, 0)
    assert [one.posted for one in kit.ledger.balances([tokens, money])] == [3, 70]


def test_an_account_that_nobody_asked_for_stands_at_nothing(kit: Kit) -> None:
    kit.ledger.hold(hold((account("known"), 1)))
    (balance,) = kit.ledger.balances([account("unknown", limit=7)])
    assert balance == Balance(account=account("unknown", limit=7))


def test_a_milestone_is_reached_first_once(kit: Kit) -> None:
    half = Decimal("0.5")
    day, other = account(period="2026-11-22"), account(period="2026-11-23")
    assert [kit.ledger.is_first(one, half) for one in (day, day, other)] == [True, False, True]
    assert kit.ledger.is_first(day, Decimal("0.8"))
    assert kit.ledger.is_first(account(period="2026-11-22", unit="calls"), half)
    kit.drain()
    assert not kit.ledger.is_first(account(period="2026-11-22", limit=7), half)
    assert not kit.ledger.is_first(day, Decimal("0.50"))  # however it is written
