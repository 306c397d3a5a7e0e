"""Accounts of idle windows go when no owner is in their period any more, and never before."""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.folding.kits import DAY_NS, At, Kit, run, run_daily, sums
from tollspan.budget import (
    FOLDED,
    IDLE_MEMORY_SECONDS,
    Account,
    Allowance,
    Folder,
    Touch,
    idle_key,
)

BEGAN_US = 1_704_110_400_000_000  # 2024-01-01T12:00:00Z
OVER_UNIX_NS = BEGAN_US * 1_000 + 60 * DAY_NS
DAYS = 38
"""So many daily runs, and an account that was quiet before the first of them is folded."""
IDLE_SECONDS = 100
LASTS = IDLE_SECONDS * 1.1
ANCHOR = Account(budget_id="anchors", scope="", period="", limit=0)
SUM = Account(budget_id="session", scope=FOLDED, period="2024-01 idle", limit=0)
lives = itertools.count()


def account(number: int, owner: str = "a", *, seconds: int = IDLE_SECONDS) -> Account:
    return Account(
        budget_id="session",
        scope=f'{{"session":"{owner}"}}',
        period=idle_key(seconds, BEGAN_US + number),
        limit=1_000,
    )


def say(
    one: Account, *, is_known: bool = False, is_look: bool = False, seconds: int = IDLE_SECONDS
) -> Touch:
    return Touch(account=one, idle_seconds=seconds, is_known=is_known, is_look=is_look)


def anchor(kit: Kit) -> None:
    """Make an account that stays: a ledger keeps the one that was made last."""
    kit.post(Account(budget_id=f"anchor {next(lives)}", scope="", period="", limit=0), 1)


def forget(kit: Kit) -> None:
    """Have all owners forgotten who are not heard of."""
    kit.advance(LASTS + IDLE_MEMORY_SECONDS + 1)
    for number in range(20):
        kit.store.touch(say(account(number, f"other {number}")))


def test_the_period_of_a_session_that_is_only_refused_stays(kit: Kit) -> None:
    first = account(1)
    kit.store.touch(say(first))
    kit.post(first, 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, 3 * DAYS) == 0
    assert sums(kit.store, first) == (30, 0, 0)


def test_the_wait_begins_when_the_owner_has_another_period(kit: Kit) -> None:
    first, second = account(1), account(2)
    kit.store.touch(say(first))
    kit.post(first, 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    kit.advance(LASTS)
    assert kit.store.touch(say(second)) == second.period
    kit.post(second, 5)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS - 1) == 0
    assert run_daily(kit.store, OVER_UNIX_NS + (2 * DAYS - 1) * DAY_NS, DAYS) == 1
    assert sums(kit.store, first) == (0, 0, 0)
    assert sums(kit.store, second) == (5, 0, 0)
    assert sums(kit.store, SUM) == (30, 0, 0)


def test_the_last_period_of_a_session_goes_when_the_session_is_forgotten(kit: Kit) -> None:
    first = account(1)
    kit.store.touch(say(first))
    kit.post(first, 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    forget(kit)
    assert run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS) == 1
    assert sums(kit.store, SUM) == (30, 0, 0)
    assert kit.store.touch(say(account(7))) == account(7).period


def test_a_period_that_a_holder_knows_after_all_waits_anew(kit: Kit) -> None:
    first = account(1)
    kit.post(first, 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, DAYS - 1) == 0
    assert kit.store.touch(say(first, is_known=True)) == first.period
    run(kit.store, OVER_UNIX_NS + (DAYS - 1) * DAY_NS)
    assert sums(kit.store, first) == (30, 0, 0)
    forget(kit)
    assert run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS - 1) == 0
    assert sums(kit.store, first) == (30, 0, 0)


def test_a_period_that_is_taken_up_after_it_was_shown_stays(kit: Kit) -> None:
    first = account(1)
    kit.post(first, 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS - 1)
    at = At(kit.store, OVER_UNIX_NS + (DAYS - 1) * DAY_NS)
    order = Folder(at).order(at.look(200))
    assert len(order.folds) == 1
    kit.store.touch(say(first, is_known=True))
    assert kit.store.fold(order)
    assert sums(kit.store, first) == (30, 0, 0)
    assert sums(kit.store, SUM) == (0, 0, 0)


def test_the_allowance_beside_a_period_that_runs_stays(kit: Kit) -> None:
    first = account(1, "ä'\\\"/:")
    beside = Allowance(amount=50).beside(first)
    kit.store.touch(say(first))
    kit.post(beside, 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, 2 * DAYS) == 0
    assert sums(kit.store, beside) == (30, 0, 0)
    forget(kit)
    assert run_daily(kit.store, OVER_UNIX_NS + 2 * DAYS * DAY_NS, DAYS) == 1
    assert sums(kit.store, Allowance(amount=50).beside(SUM)) == (30, 0, 0)


def test_a_period_of_a_long_idle_time_waits_for_that_too(kit: Kit) -> None:
    seconds = 100 * 86_400
    first = account(1, seconds=seconds)
    kit.post(first, 30)
    anchor(kit)
    assert run_daily(kit.store, OVER_UNIX_NS, 111) == 0
    assert run_daily(kit.store, OVER_UNIX_NS + 111 * DAY_NS, 5) == 1
    assert sums(kit.store, SUM) == (30, 0, 0)


def test_an_event_of_a_period_that_was_folded_counts_in_the_same_sum(kit: Kit) -> None:
    first = account(1)
    kit.post(first, 30)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS, DAYS)
    kit.post(first, 4)
    assert sums(kit.store, first) == (4, 0, 0)
    anchor(kit)
    run_daily(kit.store, OVER_UNIX_NS + DAYS * DAY_NS, DAYS)
    assert sums(kit.store, first) == (0, 0, 0)
    assert sums(kit.store, SUM) == (34, 0, 0)


def test_who_folds_forgets_owners_though_nobody_is_active(kit: Kit) -> None:
    for number in range(300):
        kit.store.touch(say(account(number, f"{number}")))
    kit.advance(LASTS + IDLE_MEMORY_SECONDS + 1)
    run_daily(kit.store, OVER_UNIX_NS, 3)
    for number in range(0, 300, 50):
        look = say(account(0, f"{number}"), is_look=True)
        assert kit.store.touch(look) == account(0).period  # not behind another


def test_no_owner_is_forgotten_in_whose_period_anything_is_held(kit: Kit) -> None:
    first = account(1)
    kit.store.touch(say(first))
    kit.advance(LASTS + IDLE_MEMORY_SECONDS + 1)
    give_back = kit.hold(first, 5)
    assert give_back is not None
    run_daily(kit.store, OVER_UNIX_NS, 3)
    for number in range(20):
        kit.store.touch(say(account(number, f"other {number}")))
    assert kit.store.touch(say(account(2))) == first.period
    give_back()
    kit.advance(LASTS)
    assert kit.store.touch(say(account(2))) == account(2).period


ACTS = st.one_of(
    st.tuples(st.just("active"), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("late"), st.integers(0, 2), st.integers(-3, 9)),
    st.tuples(st.just("refused"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.sampled_from([20, 120, 90_000])),
    st.tuples(st.just("fold"), st.just(0), st.sampled_from([1, 20, 40])),
)


@given(acts=st.lists(ACTS, max_size=14))
@example(acts=[("active", 0, 5), ("fold", 0, 40), ("refused", 0, 0)])
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_spend_is_forgotten_while_its_period_runs_and_no_sum_changes(
    kit: Kit, acts: list[tuple[str, int, int]]
) -> None:
    life = next(lives)
    spent_before = spent(kit)
    told: dict[str, list[Account]] = defaultdict(list)
    posted: dict[Account, int] = defaultdict(int)
    at_unix_ns = OVER_UNIX_NS
    for number, (act, who, count) in enumerate(acts):
        owner = f"{life}/{who}"
        if act == "pass":
            kit.advance(count)
        elif act == "fold":
            anchor(kit)
            run_daily(kit.store, at_unix_ns, count)
            at_unix_ns += count * DAY_NS
        elif act != "late":
            said = account(number, owner)
            key = kit.store.touch(say(said))
            if all(one.period != key for one in told[owner]):
                told[owner].append(account(int(key[-16:]) - BEGAN_US, owner))
        if act in ("active", "late") and told[owner]:
            one = told[owner][-1 if act == "active" else 0]
            kit.post(one, count)
            posted[one] += count
        for known in [one for one in told.values() if one]:
            last = known[-1]
            look = say(account(10_000, last.scope[12:-2]), is_look=True)
            if kit.store.touch(look) == last.period:
                assert sums(kit.store, last)[0] == posted[last]
    assert spent(kit) == spent_before + sum(posted.values())


def spent(kit: Kit) -> int:
    """Return what is posted in all accounts of sessions, and in their sums."""
    rows = kit.store.look(100_000).rows
    return sum(row.posted for row in rows if row.account.budget_id == "session")
