"""What is remembered of calls, and that it finds what looking at every budget would find."""

from __future__ import annotations

import os
import sys
import threading
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import a_call, a_tool
from tollspan.budget import Account, Budget, Condition, RuleSet, parse_rules, read_scope
from tollspan.budget.plans import Planner, scope_of
from tollspan.usage import Attribution, Call

NAMES = ("a", "b", "ab")
values = st.none() | st.sampled_from(NAMES)
globs = st.sampled_from((*NAMES, "a*", "*", "[ab]", "A"))
patterns = st.lists(
    st.builds(str.__add__, st.sampled_from(("", "", "!")), globs), min_size=1, max_size=3
)
conditions = st.dictionaries(
    st.sampled_from(("customer", "user", "tag.t", "model")), patterns, max_size=3
)
budgets = st.lists(st.tuples(conditions, st.sampled_from([(), ("user",), ("tag.t",)])), max_size=6)


def planner(found: list[tuple[dict[str, list[str]], tuple[str, ...]]]) -> Planner:
    """Make a planner of budgets, each with its conditions and what divides it."""
    made = [
        Budget(
            id=f"b{number}",
            limit=1,
            per=per,
            where=tuple(
                Condition(
                    key,
                    tuple(one for one in patterns if one[0] != "!"),
                    tuple(one[1:] for one in patterns if one[0] == "!"),
                )
                for key, patterns in where.items()
            ),
        )
        for number, (where, per) in enumerate(found)
    ]
    return Planner(RuleSet(budgets=tuple(made)))


def of(call: Call, key: str) -> str | None:
    """Return what a call says of a dimension or a subject."""
    if key == "model":
        return call.request.model
    if key == "tag.t":
        return dict(call.attribution.tags).get("t")
    found: str | None = getattr(call.attribution, key)
    return found


def is_met(call: Call, key: str, patterns: list[str]) -> bool:
    """Say whether a call is what the patterns want, and nothing of what they leave out."""
    value = of(call, key)
    wanted = [one for one in patterns if one[0] != "!"]
    if value is None:
        return not wanted
    found = [
        one[0] != "!"
        for one in patterns
        if fnmatchcase(value, (one.lower() if key == "model" else one).removeprefix("!"))
    ]
    return all(found) and (bool(found) or not wanted)


@given(budgets, st.lists(st.tuples(values, values, values, st.sampled_from(NAMES)), max_size=6))
def test_a_plan_has_every_budget_that_counts_the_call_in_the_documents_order(
    found: list[tuple[dict[str, list[str]], tuple[str, ...]]],
    calls: list[tuple[str | None, str | None, str | None, str]],
) -> None:
    plans = planner(found)
    for customer, user, tag, model in calls:
        call = a_call(model, customer=customer, user=user, tags=None if tag is None else {"t": tag})
        accounts = plans.plan(call).accounts
        assert [one.budget_id for one in accounts] == [
            f"b{number}"
            for number, (where, _) in enumerate(found)
            if all(is_met(call, key, patterns) for key, patterns in where.items())
        ]
        assert [read_scope(one.scope) for one in accounts] == [
            tuple((key, of(call, key)) for key in found[int(one.budget_id[1:])][1])
            for one in accounts
        ]


def test_calls_that_differ_only_in_what_no_budget_asks_share_a_plan() -> None:
    plans = planner([({"customer": ["a"]}, ("user",))])
    plan = plans.plan(a_call(customer="a", user="u", session="1"))
    for call in (
        a_call("o3", customer="a", user="u", session="2"),
        a_tool(),
        a_call(customer="a", user="u", session="3", tags={"request": "7"}),
    ):
        is_same = call.attribution.customer == "a"
        assert (plans.plan(call) is plan) is is_same


def test_a_tool_and_a_model_of_one_name_have_plans_of_their_own() -> None:
    plans = planner([({"model": ["search"]}, ())])
    assert plans.plan(a_call("search")).accounts
    assert not plans.plan(a_tool("search")).accounts


def test_a_name_without_end_is_not_remembered() -> None:
    plans = planner([({"model": ["a*"]}, ())])
    for size, is_kept in ((10, True), (10_000, False)):
        call = a_call("a" * size)
        assert (plans.plan(call) is plans.plan(call)) is is_kept


@pytest.mark.parametrize("whose", ["\udcff", "a\ud83d", "\ude00b"])
def test_half_characters_have_an_account_that_can_be_written_down(whose: str) -> None:
    budget = Budget(id="each", limit=1, per=("service",))
    scope = scope_of(budget, Attribution(service=whose))
    assert scope.encode().decode() == scope
    assert read_scope(scope) == (("service", whose),)
    assert scope_of(budget, Attribution(service="?")) != scope


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_plans_whatever_another_thread_was_at_when_it_was_forked() -> None:
    plans = planner([({}, ("customer",))])
    ends = threading.Event()

    def plan_on() -> None:
        number = 0
        while not ends.is_set():
            plans.plan(a_call(customer=str(number := number + 1)))

    threads = [threading.Thread(target=plan_on, daemon=True) for _ in range(4)]
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(30):
            child = os.fork()
            if child == 0:
                plans.plan(a_call(customer="child"))
                os._exit(7)
            give_up_at = time.monotonic() + 10
            while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > give_up_at:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    pytest.fail("the child waits for a lock that nobody has")
                time.sleep(0.001)
            assert os.waitstatus_to_exitcode(done[1]) == 7
    finally:
        sys.setswitchinterval(former)
        ends.set()
        for thread in threads:
            thread.join(10)


def test_an_account_says_whether_it_refuses() -> None:
    soft = Budget(id="soft", limit=1, unit="tokens", on_exceed="warn")
    hard = Budget(id="hard", limit=1, unit="calls")
    plan = Planner(RuleSet(budgets=(soft, hard))).plan(a_call())
    assert plan.hard_units == {"calls"}
    assert [one.is_soft for one in plan.accounts] == [True, False]
    assert isinstance(plan.accounts[0], Account)
    observed = Planner(RuleSet(budgets=(soft, hard)), is_soft=True).plan(a_call())
    assert observed.hard_units == frozenset()


@given(
    st.lists(
        st.tuples(values.filter(bool) | st.just("*"), values.filter(bool) | st.just("*")),
        max_size=6,
        unique=True,
    ),
    values,
    values,
)
def test_the_first_limit_that_is_for_an_account_counts(
    own: list[tuple[str, str]], customer: str | None, region: str | None
) -> None:
    named = [pair for pair in own if pair != ("*", "*")]
    lines = "".join(
        f"      - {{{'' if one == '*' else f'customer: {one}, '}"
        f"{'' if other == '*' else f'tag.t: {other}, '}limit: {number} calls}}\n"
        for number, (one, other) in enumerate(named)
    )
    rules = parse_rules(
        "version: 1\nbudgets:\n  - id: a\n    per: [customer, tag.t]\n    limit: 99 calls\n"
        + (f"    limits:\n{lines}" if named else "")
    )
    tags = None if region is None else {"t": region}
    (account,) = Planner(rules).plan(a_call(customer=customer, tags=tags)).accounts
    fits = [
        number
        for number, (one, other) in enumerate(named)
        if one in (customer, "*") and other in (region, "*")
    ]
    assert account.limit == (fits[0] if fits else 99)
