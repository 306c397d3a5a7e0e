"""Accounts of closed periods go; what was spent in them stays, to the nano-dollar."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from tests.contract.folding.kits import DAY_NS, HOUR_NS, At, Kit, Store, run, run_daily, sums
from tollspan.budget import FOLDED, Account, Folder
from tollspan.usage import BLOCK_PERIOD

NOON_UNIX_NS = 1_704_110_400_000_000_000  # 2024-01-01T12:00:00Z
OVER_UNIX_NS = NOON_UNIX_NS + 60 * DAY_NS
"""When January is over for long."""
DAYS = 38
"""So many daily runs, and what was closed before the first of them is folded."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
_names = itertools.count(1)


def account(owner: str, period: str, *, budget_id: str = "customers", limit: int = 100) -> Account:
    return Account(
        budget_id=budget_id, scope=f'{{"customer":"{owner}"}}', period=period, limit=limit
    )


def folded(period: str, budget_id: str = "customers") -> Account:
    return Account(budget_id=budget_id, scope=FOLDED, period=period, limit=0)


def anchor(kit: Kit) -> None:
    """Make an account that stays: a ledger keeps the one that was made last."""
    kit.post(account(f"anchor-{next(_names)}", ""), 1)


def names(store: Store) -> set[tuple[str, str, str]]:
    """Name all accounts."""
    look = store.look(10_000)
    assert not look.cursor
    return {(row.account.budget_id, row.account.scope, row.account.period) for row in look.rows}


@pytest.mark.parametrize(
    ("period", "sum_period"),
    [
        ("2024-01", "2024-01"),
        ("2024-01-05", "2024-01-05"),
        ("2024-W01", "2024-W01"),
        ("2023-12-14/2024-01-14", "2023-12-14/2024-01-14"),
        ("2024-01-05T08", "2024-01 hours"),
        ("60s/00170454240", "2024-01 rolling"),
        (TRACE, "traces"),
        ("idle:1800s/1704110400000000", "2024-01 idle"),
    ],
)
def test_what_owners_spent_in_a_closed_period_is_added_up(
    kit: Kit, period: str, sum_period: str
) -> None:
    kit.post(account("acme", period), 30)
    kit.post(account("globex", period), 12)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, DAYS) == 2
    assert sums(kit.store, account("acme", period)) == (0, 0, 0)
    assert sums(kit.store, folded(sum_period)) == (42, 0, 0)
    assert len(names(kit.store)) == 2  # the sum, and the anchor


def test_an_account_is_kept_for_35_days_of_runs(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, 36) == 0
    assert sums(kit.store, account("acme", "2024-01")) == (30, 0, 0)


def test_runs_of_one_day_count_once(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    anchor(kit)
    gone = sum(run(kit.store, OVER_UNIX_NS + number * HOUR_NS // 3) for number in range(100))
    assert gone == 0


def test_an_account_of_a_short_window_goes_within_hours(kit: Kit) -> None:
    kit.post(account("acme", "60s/00170454240"), 30)
    anchor(kit)
    gone = [run(kit.store, OVER_UNIX_NS + number * HOUR_NS) for number in range(5)]
    assert gone == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("period", ["", "2024-04", "week 3", "idle:some/thing"])
def test_no_account_goes_whose_period_is_open_or_not_known(kit: Kit, period: str) -> None:
    kit.post(account("acme", period), 30)
    anchor(kit)
    assert run_daily(kit.store, NOON_UNIX_NS, 2 * DAYS) == 0
    assert sums(kit.store, account("acme", period)) == (30, 0, 0)


def test_the_account_of_an_undivided_budget_is_the_sum_already(kit: Kit) -> None:
    whole = Account(budget_id="all", scope="", period="2024-01", limit=100)
    kit.post(whole, 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, DAYS) == 0
    assert sums(kit.store, whole) == (30, 0, 0)


def test_blocks_of_all_ids_are_folded_into_one_after_400_days_of_runs(kit: Kit) -> None:
    for name in ("task-1", "task-2"):
        kit.post(Account(budget_id=name, scope="", period=BLOCK_PERIOD, limit=9), 4)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, 400) == 0
    assert run_daily(kit.store, OVER_UNIX_NS + 400 * DAY_NS, 2) == 2
    assert sums(kit.store, folded("blocks", "blocks")) == (8, 0, 0)


@pytest.mark.parametrize("amount", [0, 7])
def test_no_account_goes_while_anything_is_held(kit: Kit, amount: int) -> None:
    kit.post(account("acme", "2024-01"), 30)
    anchor(kit)
    give_back = kit.hold(account("acme", "2024-01"), amount)
    assert give_back is not None
    if amount:
        assert run_daily(kit.store, OVER_UNIX_NS, DAYS) == 0
    else:  # nothing is held, so it may go once it is given back: never twice, never to another
        run_daily(kit.store, OVER_UNIX_NS, DAYS)
    give_back()
    run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS)
    assert sums(kit.store, account("acme", "2024-01")) == (0, 0, 0)
    assert sums(kit.store, folded("2024-01")) == (30, 0, 0)


def test_no_account_goes_while_anything_is_unresolved(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30, unresolved=5)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, DAYS) == 0
    kit.post(account("acme", "2024-01"), 2, unresolved=-5)
    assert run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS) == 1
    assert sums(kit.store, folded("2024-01")) == (32, 0, 0)


def test_whatever_is_posted_or_held_begins_the_wait_anew(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    kit.post(account("globex", "2024-01"), 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, DAYS - 2) == 0
    kit.post(account("acme", "2024-01"), 1)
    give_back = kit.hold(account("globex", "2024-01"), 1)
    assert give_back is not None
    give_back()
    assert run_daily(kit.store, OVER_UNIX_NS + (DAYS - 2) * DAY_NS, DAYS - 2) == 0
    assert run_daily(kit.store, OVER_UNIX_NS + 2 * (DAYS - 2) * DAY_NS, 2) == 2
    assert sums(kit.store, folded("2024-01")) == (61, 0, 0)


def test_an_event_that_comes_after_that_is_folded_into_the_same_sum(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    kit.post(account("acme", "2024-01"), 5)
    assert sums(kit.store, account("acme", "2024-01")) == (5, 0, 0)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS)
    assert sums(kit.store, account("acme", "2024-01")) == (0, 0, 0)
    assert sums(kit.store, folded("2024-01")) == (35, 0, 0)


def test_a_sum_may_be_less_than_nothing(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), -30)
    kit.post(account("globex", "2024-01"), 10)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    assert sums(kit.store, folded("2024-01")) == (-20, 0, 0)


def test_sums_are_exact_beyond_what_a_float_holds(kit: Kit) -> None:
    large = (1 << 59) + 1
    for owner in ("acme", "globex", "initech"):
        kit.post(account(owner, "2024-01"), large)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    assert sums(kit.store, folded("2024-01")) == (3 * large, 0, 0)


def test_an_account_in_which_nothing_was_ever_spent_goes_within_hours(kit: Kit) -> None:
    for period in ("", "2024-04", TRACE):
        give_back = kit.hold(account("acme", period), 1)
        assert give_back is not None
        give_back()
    assert kit.hold(account("globex", ""), 101) is None
    anchor(kit)
    for number in range(5):
        run(kit.store, NOON_UNIX_NS + number * HOUR_NS)
    assert len(names(kit.store)) == 1  # the anchor


def test_an_account_that_went_takes_a_hold_again(kit: Kit) -> None:
    again = account("acme", "", limit=10)
    give_back = kit.hold(again, 10)
    assert give_back is not None
    give_back()
    anchor(kit)
    for number in range(5):
        run(kit.store, NOON_UNIX_NS + number * HOUR_NS)
    assert (again.budget_id, again.scope, again.period) not in names(kit.store)
    assert kit.hold(again, 7) is not None
    assert sums(kit.store, again) == (0, 7, 0)
    assert kit.hold(again, 4) is None


def test_no_other_account_is_taken_for_one_that_went(kit: Kit) -> None:
    for number in range(5):
        give_back = kit.hold(account(f"owner-{number}", ""), 1)
        assert give_back is not None
        give_back()
    for number in range(5):
        run(kit.store, NOON_UNIX_NS + number * HOUR_NS)
    kit.post(account("new", ""), 1)
    for number in range(5):
        assert kit.hold(account(f"owner-{number}", ""), 2) is not None
    assert sums(kit.store, account("new", "")) == (1, 0, 0)
    assert all(sums(kit.store, account(f"owner-{n}", "")) == (0, 2, 0) for n in range(5))


def test_what_was_told_of_an_account_goes_with_it(kit: Kit) -> None:
    one = account("acme", "2024-01")
    kit.post(one, 30)
    anchor(kit)
    assert kit.store.is_first(one, Decimal("0.8"))
    run_daily(kit.store, OVER_UNIX_NS, DAYS - 2)
    assert not kit.store.is_first(one, Decimal("0.8"))
    run_daily(kit.store, OVER_UNIX_NS + (DAYS - 2) * DAY_NS, 2)
    assert sums(kit.store, one) == (0, 0, 0)
    assert kit.store.is_first(one, Decimal("0.8"))


def test_an_order_is_done_once(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS - 1)
    at = At(kit.store, OVER_UNIX_NS + (DAYS - 1) * DAY_NS)
    order = Folder(at).order(at.look(200))
    assert len(order.folds) == 1
    assert kit.store.fold(order)
    assert not kit.store.fold(order)
    assert sums(kit.store, folded("2024-01")) == (30, 0, 0)


def test_an_order_leaves_what_has_changed_since_it_was_shown(kit: Kit) -> None:
    kit.post(account("acme", "2024-01"), 30)
    kit.post(account("globex", "2024-01"), 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS - 1)
    at = At(kit.store, OVER_UNIX_NS + (DAYS - 1) * DAY_NS)
    order = Folder(at).order(at.look(200))
    kit.post(account("acme", "2024-01"), 1)
    assert kit.hold(account("globex", "2024-01"), 1) is not None
    assert kit.store.fold(order)
    assert sums(kit.store, account("acme", "2024-01")) == (31, 0, 0)
    assert sums(kit.store, account("globex", "2024-01")) == (30, 1, 0)


def test_accounts_are_looked_through_piece_by_piece(kit: Kit) -> None:
    for number in range(25):
        kit.post(account(f"owner-{number}", "60s/00170454240"), number)
    anchor(kit)
    for number in range(6):
        run(kit.store, OVER_UNIX_NS + number * HOUR_NS, most=3)
    assert sums(kit.store, folded("2024-01 rolling")) == (sum(range(25)), 0, 0)
    assert len(names(kit.store)) == 2
