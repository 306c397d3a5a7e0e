"""Plans: each customer has the budgets of its own, from the day on which it is billed."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import World, a_call
from tollspan.budget import Assignment, Budget, Window, parse_rules
from tollspan.usage import BudgetExceededError, Call, ConfigError

DOCUMENT = """
version: 1
budgets:
  - {id: org, limit: 1000 calls}
plans:
  free: {budgets: [{id: free-month, limit: 1 call, window: month}]}
  pro:
    budgets:
      - {id: pro-month, limit: 2 calls, window: {every: month, timezone: Asia/Tokyo}}
      - {id: pro-day, per: [user], limit: 9 calls, window: day}
  house: {budgets: []}
assign:
  acme: {plan: pro, anchor: 2026-11-14}
  beta: pro
  us: house
  "*": free
"""


class Assigned(World):
    """A world by a whole document."""

    def __init__(self, document: str = DOCUMENT) -> None:
        super().__init__("id: unused, limit: 1 USD")
        self.gate.use(parse_rules(document))

    def accounts(self, call: Call) -> list[tuple[str, str, str]]:
        """Return id, scope and period of the accounts that a call touches."""
        decision = self.gate.authorize(call)
        assert decision.hold is not None
        return [(one.budget_id, one.scope, one.period) for one, _ in decision.hold.legs]


def test_each_customer_has_the_budgets_of_its_plan_from_its_own_day() -> None:
    world = Assigned()
    org = ("org", "", "")
    acme, beta = '"customer":"acme"', '"customer":"beta"'
    assert world.accounts(a_call(customer="acme", user="u")) == [
        org,
        ("pro-month", f"{{{acme}}}", "2026-11-14/2026-12-14"),
        ("pro-day", f'{{{acme},"user":"u"}}', "2026-11-22"),
    ]
    assert world.accounts(a_call(customer="beta")) == [
        org,
        ("pro-month", f"{{{beta}}}", "2026-11"),
        ("pro-day", f'{{{beta},"user":null}}', "2026-11-22"),
    ]
    assert world.accounts(a_call(customer="us")) == [org]
    assert world.accounts(a_call(customer="new")) == [
        org,
        ("free-month", '{"customer":"new"}', "2026-11"),
    ]


def test_a_denial_names_the_plans_budget_and_the_end_of_the_customers_period() -> None:
    world = Assigned()
    for _ in range(2):
        assert world.make(a_call(customer="acme")) is None
    denial = world.make(a_call(customer="acme"))
    assert isinstance(denial, BudgetExceededError)
    assert (denial.rule_id, denial.limit, denial.remaining) == ("pro-month", 2, 0)
    assert denial.scope == (("customer", "acme"),)
    assert denial.period == "2026-11-14/2026-12-14"
    assert denial.resets_at == datetime(2026, 12, 13, 15, tzinfo=UTC)  # midnight in Tokyo
    assert (
        denial.recovery.retry_after_seconds
        == (denial.resets_at - datetime(2026, 11, 22, 12, tzinfo=UTC)).total_seconds()
    )
    assert world.make(a_call(customer="beta")) is None


def test_who_names_no_customer_is_everybody_else_and_shares_one_account() -> None:
    world = Assigned()
    assert world.make(a_call(user="one")) is None
    denial = world.make(a_call(user="other"))
    assert isinstance(denial, BudgetExceededError)
    assert (denial.rule_id, denial.scope) == ("free-month", (("customer", None),))


def test_a_plan_is_changed_while_the_program_runs() -> None:
    world = Assigned()
    assert world.make(a_call(customer="new")) is None
    assert world.make(a_call(customer="new")) is not None
    world.gate.use(parse_rules(DOCUMENT.replace("us: house", "us: house\n  new: pro")))
    assert world.make(a_call(customer="new")) is None
    world.gate.use(parse_rules(DOCUMENT))
    denial = world.make(a_call(customer="new"))
    assert denial is not None
    assert (denial.rule_id, denial.spent) == ("free-month", 1)


def test_without_everybody_else_who_is_not_named_has_no_plan() -> None:
    world = Assigned(DOCUMENT.replace('  "*": free\n', ""))
    assert [one for one, _, _ in world.accounts(a_call(customer="new"))] == ["org"]
    assert [one for one, _, _ in world.accounts(a_call())] == ["org"]


def test_a_plans_budgets_may_choose_calls_and_have_limits_of_single_values() -> None:
    world = Assigned(
        """
version: 1
plans:
  pro:
    budgets:
      - id: some
        per: [user, customer]
        where: {model: "gpt-*", user: [u, v]}
        limit: 1 call
        limits: [{user: v, limit: 2 calls}]
assign: {acme: pro}
"""
    )
    for user, calls in (("u", 1), ("v", 2)):
        for _ in range(calls):
            assert world.make(a_call(customer="acme", user=user)) is None
        assert world.make(a_call(customer="acme", user=user)) is not None
    for call in (a_call(customer="acme", user="w"), a_call("o3", customer="acme", user="u")):
        assert [world.make(call) for _ in range(2)] == [None, None]
    assert world.make(a_call(customer="other", user="u")) is None


def test_plans_are_read_with_their_budgets_and_customers() -> None:
    rules = parse_rules(DOCUMENT)
    assert rules.budgets[1:] == (
        Budget(
            id="free-month",
            limit=1,
            unit="calls",
            per=("customer",),
            window=Window(every="month"),
            plan="free",
        ),
        Budget(
            id="pro-month",
            limit=2,
            unit="calls",
            per=("customer",),
            window=Window(every="month", timezone="Asia/Tokyo"),
            plan="pro",
        ),
        Budget(
            id="pro-day",
            limit=9,
            unit="calls",
            per=("customer", "user"),
            window=Window(every="day"),
            plan="pro",
        ),
    )
    assert rules.assign == (
        ("acme", Assignment("pro", date(2026, 11, 14))),
        ("beta", Assignment("pro")),
        ("us", Assignment("house")),
        ("*", Assignment("free")),
    )


@pytest.mark.parametrize(
    ("plans", "assign", "line", "says"),
    [
        ("{}", "{acme: pro}", 3, "`assign.acme` has the plan 'pro'; known: none"),
        ("{pro: {budgets: []}}", "{acme: pr}", 3, "'pr'; known: pro"),
        ("{pro: {}}", "{}", 2, "`plans.pro` has no `budgets`; write `budgets: []` for none"),
        ("{pro: {limit: 1 USD}}", "{}", 2, "unknown key `limit` in plans.pro; known: budgets"),
        ("{'p q': {budgets: []}}", "{}", 2, "a plan is called 'p q'"),
        ("{pro: [1]}", "{}", 2, "plans.pro is no mapping"),
        ("{pro: {budgets: [{id: a}]}}", "{}", 2, "a budget has no `limit`"),
        (
            "{a: {budgets: [{id: x, limit: 1 USD}]}, b: {budgets: [{id: x, limit: 2 USD}]}}",
            "{}",
            2,
            "two budgets have the id 'x'",
        ),
        ("{pro: {budgets: []}}", "{'a*': pro}", 3, "names 'a*'; expected a customer, or `*`"),
        ("{pro: {budgets: []}}", "{acme: {anchor: 2026-11-14}}", 3, "`assign.acme` has no `plan`"),
        ("{pro: {budgets: []}}", "{acme: {plan: pro, day: 14}}", 3, "unknown key `day`"),
        ("{pro: {budgets: []}}", "{acme: {plan: pro, anchor: 14}}", 3, "a day such as 2026-11-14"),
        ("{pro: {budgets: []}}", "{acme: pro, acme: pro}", 3, "`acme` is written twice"),
    ],
)
def test_what_is_wrong_with_plans_is_named(plans: str, assign: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rules(f"version: 1\nplans: {plans}\nassign: {assign}", source="tollspan.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"tollspan.yaml:{line}: ")


customers = st.none() | st.sampled_from(["a", "b", "c", "*"])
assignments = st.dictionaries(
    st.sampled_from(["a", "b", "*"]),
    st.tuples(st.sampled_from(["x", "y"]), st.none() | st.integers(1, 28)),
)


@given(assignments, st.lists(customers, max_size=6))
def test_everybody_has_exactly_the_budgets_of_the_plan_that_is_assigned(
    found: dict[str, tuple[str, int | None]], callers: list[str | None]
) -> None:
    lines = "".join(
        f"  '{customer}': {{plan: {plan}"
        + ("" if day is None else f", anchor: 2026-01-{day:02d}")
        + "}\n"
        for customer, (plan, day) in found.items()
    )
    world = Assigned(
        "version: 1\nplans:\n"
        "  x: {budgets: [{id: x, limit: 9 calls, window: month}]}\n"
        "  y: {budgets: [{id: y, limit: 9 calls, window: month}, {id: z, limit: 9 calls}]}\n"
        + (f"assign:\n{lines}" if lines else "")
    )
    for customer in callers:
        own = found.get(customer) if customer not in (None, "*") else None
        plan, day = own or found.get("*") or (None, None)
        decision = world.gate.authorize(a_call(customer=customer))
        accounts = [one for one, _ in decision.hold.legs] if decision.hold else []
        assert "".join(one.budget_id for one in accounts) == {"x": "x", "y": "yz", None: ""}[plan]
        if accounts and day is not None:
            first = date.fromisoformat(accounts[0].period.partition("/")[0])
            assert first == date(2026, 11 if day <= 22 else 10, day)
