"""What policies refuse, what they only speak of, and what they cost those whom they let be."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import BOOK, a_call, a_tool
from tollspan.budget import BudgetGate, Condition, Decision, MemoryLedger, Policy, parse_rules
from tollspan.budget.plans import Planner
from tollspan.budget.policing import PolicyIndex
from tollspan.budget.rules import RuleSet
from tollspan.usage import BudgetExceededError, Call, CallDeniedError, Mode, PolicyViolationError

BUDGET = "id: all, limit: 1 USD"


class World:
    """A gate over policies, and budgets if there are any."""

    def __init__(self, *policies: str, budgets: tuple[str, ...] = (), mode: Mode = "enforce"):
        lines = [f"  - {{{one}}}" for one in policies]
        more = [f"  - {{{one}}}" for one in budgets]
        text = "\n".join(["version: 1", "policies:", *lines, *(["budgets:", *more] * bool(more))])
        self.ledger = MemoryLedger()
        self.gate = BudgetGate(parse_rules(text), BOOK, self.ledger, mode=mode)

    def ask(self, call: Call) -> Decision:
        """Ask for a call."""
        return self.gate.authorize(call)

    def refuses(self, call: Call) -> bool:
        """Say whether a call is refused, and see that it is a policy that does so."""
        denial = self.ask(call).denial
        assert denial is None or isinstance(denial, PolicyViolationError)
        return denial is not None


@pytest.mark.parametrize(
    ("policy", "call", "is_refused"),
    [
        pytest.param("kill: true", a_call(), True, id="kill"),
        pytest.param("kill: true", a_tool(), True, id="kill a tool"),
        pytest.param("kill: false", a_call(), False, id="a switch that is off"),
        pytest.param(
            "kill: true, where: {agent: crawler}", a_call(agent="crawler"), True, id="kill one"
        ),
        pytest.param(
            "kill: true, where: {agent: crawler}", a_call(agent="other"), False, id="not another"
        ),
        pytest.param(
            "kill: true, where: {agent: 'craw*'}", a_call(agent="crawler"), True, id="by a glob"
        ),
        pytest.param("allow: {model: ['*-mini']}", a_call("gpt-4o-mini"), False, id="allowed"),
        pytest.param("allow: {model: ['*-mini']}", a_call("GPT-4o-MINI"), False, id="capitals"),
        pytest.param("allow: {model: ['*-mini']}", a_call("gpt-4o"), True, id="not allowed"),
        pytest.param("allow: {model: ['*-mini']}", a_call(""), True, id="a model without a name"),
        pytest.param("allow: {model: ['*-mini']}", a_tool(), False, id="a tool has no model"),
        pytest.param("allow: {tool: search}", a_tool("delete"), True, id="a tool not allowed"),
        pytest.param("allow: {tool: search}", a_call(), False, id="a model is no tool"),
        pytest.param("allow: {customer: acme}", a_call(), True, id="nobody is not allowed"),
        pytest.param("allow: {customer: acme}", a_call(customer="ACME"), True, id="somebody else"),
        pytest.param(
            "allow: {model: '*', provider: anthropic}", a_call(), True, id="every key of allow"
        ),
        pytest.param("deny: {model: ['o1*', o3]}", a_call("o1-pro"), True, id="denied"),
        pytest.param("deny: {model: ['o1*', o3]}", a_call("gpt-4o"), False, id="not denied"),
        pytest.param("deny: {model: 'o1*'}", a_tool("o1"), False, id="a tool of such a name"),
        pytest.param("deny: {customer: acme}", a_call(), False, id="nobody is not denied"),
        pytest.param(
            "deny: {model: o3, provider: openai}", a_call("gpt-4o"), True, id="any key of deny"
        ),
        pytest.param(
            "allow: {model: 'gpt*'}, deny: {model: '*pro'}", a_call("gpt-pro"), True, id="both"
        ),
        pytest.param("allow: {model: '!o1*'}", a_call("o1-pro"), True, id="left out of allow"),
        pytest.param("allow: {model: '!o1*'}", a_call("gpt-4o"), False, id="not left out"),
        pytest.param("allow: {model: '!o1*'}", a_tool("o1"), False, id="a tool is not left out"),
        pytest.param("deny: {customer: '!acme'}", a_call(), True, id="nobody is not acme"),
        pytest.param(
            "kill: true, where: {customer: '!acme'}", a_call(customer="acme"), False, id="spared"
        ),
        pytest.param("require: [customer]", a_call(), True, id="nobody said who pays"),
        pytest.param("require: [customer]", a_call(customer="acme"), False, id="it was said"),
        pytest.param(
            "require: [customer, tag.cc]", a_call(customer="acme"), True, id="one is missing"
        ),
        pytest.param(
            "require: customer, where: {operation: embeddings}", a_call(), False, id="not meant"
        ),
    ],
)
@pytest.mark.parametrize("budgets", [(), (BUDGET,)], ids=["alone", "with a budget"])
def test_a_policy_refuses_what_violates_it(
    policy: str, call: Call, is_refused: bool, budgets: tuple[str, ...]
) -> None:
    world = World(f"id: it, {policy}", budgets=budgets)
    assert world.refuses(call) is is_refused
    assert bool(world.gate.authorize(call).hold) is (bool(budgets) and not is_refused)


def test_a_denial_says_which_policy_what_is_wrong_and_what_the_rule_says() -> None:
    world = World(
        "id: models, allow: {model: ['*-mini', '*haiku*']}, where: {tag.tier: free},"
        " message: Upgrade for larger models., upgrade_url: 'https://example.com/plans'"
    )
    call = a_call("gpt-4o", tags={"tier": "free"})
    decision = world.ask(call)
    denial = decision.denial
    assert isinstance(denial, PolicyViolationError)
    assert str(denial) == (
        "Upgrade for larger models. (policy 'models' refuses this call: it allows model *-mini or "
        "*haiku*, and the call has 'gpt-4o')"
    )
    assert denial.error_type == "tollspan.policy_violation"
    assert (denial.rule_id, denial.call_id) == ("models", call.id)
    assert denial.message == "Upgrade for larger models."
    assert denial.upgrade_url == "https://example.com/plans"
    assert (denial.limit, denial.remaining) == (None, None)
    assert not denial.recovery.retryable
    assert (decision.note.action, decision.note.rule_ids) == ("deny", ("models",))


@pytest.mark.parametrize(
    ("policy", "call", "says"),
    [
        pytest.param("kill: true", a_call(), "it lets no call through", id="kill"),
        pytest.param("deny: {model: 'o1*'}", a_call("o1"), "it denies model 'o1'", id="deny"),
        pytest.param(
            "allow: {customer: [a, b]}", a_call(), "customer a or b, and the call has none", id="-"
        ),
        pytest.param(
            "require: [user, tag.cc]",
            a_call(),
            "it requires user and tag.cc, of which the call says nothing",
            id="require",
        ),
        pytest.param("deny: {model: '*'}", a_call("x" * 500), "x…", id="a name without end"),
    ],
)
def test_a_denial_says_what_is_wrong(policy: str, call: Call, says: str) -> None:
    text = str(World(f"id: it, {policy}").ask(call).denial)
    assert says in text
    assert len(text) < 200


def test_a_refused_call_holds_nothing_and_is_not_asked_of_the_authority() -> None:
    world = World("id: stop, kill: true", budgets=(BUDGET,))
    assert world.refuses(a_call())
    assert world.ledger.events() == ()
    world.gate.use(parse_rules(f"version: 1\nbudgets: [{{{BUDGET}}}]"))
    decision = world.ask(a_call())
    assert decision.hold is not None
    account, held = decision.hold.legs[0]
    assert world.ledger.balance(account).held == held  # of this one call alone


def test_the_asynchronous_way_judges_alike() -> None:
    world = World("id: models, deny: {model: o3}", budgets=(BUDGET,))
    for model, is_refused in (("o3", True), ("gpt-4o-mini", False)):
        decision = asyncio.run(world.gate.authorize_async(a_call(model)))
        assert isinstance(decision.denial, PolicyViolationError) is is_refused


def test_all_policies_that_refuse_are_named_and_the_first_one_speaks() -> None:
    world = World(
        "id: a, kill: true, on_violation: shadow",
        "id: b, require: [customer]",
        "id: c, deny: {model: '*'}",
        "id: d, kill: true, where: {customer: acme}",
    )
    decision = world.ask(a_call())
    assert decision.denial is not None
    assert decision.denial.rule_id == "b"
    assert decision.note.rule_ids == ("b", "c")


@pytest.mark.parametrize("budgets", [(), (BUDGET,)], ids=["alone", "with a budget"])
@pytest.mark.parametrize("outcome", ["warn", "shadow"])
def test_a_soft_policy_lets_calls_through_and_says_so(
    outcome: str, budgets: tuple[str, ...]
) -> None:
    world = World(
        f"id: soft, kill: true, on_violation: {outcome}",
        "id: shadow, kill: true, on_violation: shadow",
        budgets=budgets,
    )
    decision = world.ask(a_call())
    assert decision.denial is None
    assert (decision.note.action, decision.note.rule_ids) == (outcome, ("soft", "shadow"))
    assert (decision.note.bound_nanousd is not None) is bool(budgets)
    assert (decision.hold is not None) is bool(budgets)


@pytest.mark.parametrize(
    ("policy", "budget", "action"),
    [
        ("shadow", "warn", "warn"),
        ("warn", "shadow", "warn"),
        ("shadow", "shadow", "shadow"),
    ],
)
def test_the_sharper_word_of_policies_and_budgets_counts_and_both_are_named(
    policy: str, budget: str, action: str
) -> None:
    world = World(
        f"id: p, kill: true, on_violation: {policy}",
        budgets=(f"id: b, limit: 0 USD, on_exceed: {budget}",),
    )
    decision = world.ask(a_call())
    assert decision.denial is None
    assert (decision.note.action, decision.note.rule_ids) == (action, ("b", "p"))


def test_a_budget_that_refuses_is_sharper_than_a_policy_that_warns() -> None:
    world = World("id: p, kill: true, on_violation: warn", budgets=("id: b, limit: 0 USD",))
    decision = world.ask(a_call())
    assert isinstance(decision.denial, BudgetExceededError)
    assert (decision.note.action, decision.note.rule_ids) == ("deny", ("b", "p"))
    unbounded = world.ask(a_call("no-such-model", provider="nobody", max_output_tokens=None))
    assert isinstance(unbounded.denial, CallDeniedError)
    assert unbounded.note.rule_ids[-1:] == ("p",)


@pytest.mark.parametrize("budgets", [(), (BUDGET,)], ids=["alone", "with a budget"])
def test_where_nothing_is_refused_a_policy_says_what_it_would_have_done(
    budgets: tuple[str, ...],
) -> None:
    policies = ("id: stop, kill: true", "id: told, kill: true, on_violation: warn")
    observed = World(*policies, budgets=budgets, mode="observe").ask(a_call())
    assert observed.denial is None
    assert (observed.note.action, observed.note.mode) == ("shadow", "observe")
    assert observed.note.rule_ids == ("stop", "told")
    off = World(*policies, budgets=budgets, mode="off").ask(a_call())
    assert off.denial is None
    assert (off.note.action, off.note.rule_ids) == ("allow", ("all",) if budgets else ())


def test_a_kind_of_call_is_judged_once_for_all() -> None:
    index = PolicyIndex((Policy(id="a", require=("user",)),))
    planner = Planner(RuleSet(), policies=index)
    kinds = [planner.plan(a_call(user=user, session=str(at))) for user in "xy" for at in range(9)]
    assert len({id(plan) for plan in kinds}) == 2
    assert planner.plan(a_call()).policies is not None


def test_a_call_that_violates_nothing_stays_on_the_plain_path() -> None:
    text = f"version: 1\nbudgets: [{{{BUDGET}}}]\npolicies: [{{id: a, deny: {{model: o3}}}}]"
    rules = parse_rules(text)
    without = RuleSet(budgets=rules.budgets)
    call = a_call("gpt-4o-mini")
    plan = Planner(rules, policies=PolicyIndex(rules.policies)).plan(call)
    assert plan.is_plain
    assert plan == Planner(without).plan(call)


def _calls_of(function: Callable[[], object]) -> int:
    """Count the functions of Python that are called."""
    count = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_ten_thousand_policies_of_single_customers_cost_a_call_no_more_than_ten() -> None:
    def cost(count: int) -> int:
        policies = [
            Policy(id=f"p{at}", kill=True, where=(Condition("customer", (f"c{at}",)),))
            for at in range(count)
        ]
        index = PolicyIndex((*policies, Policy(id="any", deny=(Condition("model", ("o3",)),))))
        return _calls_of(lambda: index.plan(a_call(customer="c5")))

    assert cost(10_000) == cost(10)


NAMES = ("a", "b", "ab")
values = st.none() | st.sampled_from(NAMES)
globs = st.lists(st.sampled_from((*NAMES, "a*", "*", "[ab]", "A")), min_size=1, max_size=3)
conditions = st.dictionaries(st.sampled_from(("customer", "user", "model")), globs, max_size=2)
KINDS = ("kill", "allow", "deny", "require")


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), conditions, conditions), max_size=6),
    st.lists(st.tuples(values, values, st.sampled_from(NAMES)), max_size=5),
)
def test_the_index_finds_what_looking_at_every_policy_would_find(
    found: list[tuple[str, dict[str, list[str]], dict[str, list[str]]]],
    calls: list[tuple[str | None, str | None, str]],
) -> None:
    def meets(said: dict[str, str | None], key: str, patterns: list[str]) -> bool:
        value = said[key]
        lower = key == "model"
        return value is not None and any(
            fnmatchcase(value, one.lower() if lower else one) for one in patterns
        )

    policies = tuple(
        Policy(
            id=f"p{number}",
            where=tuple(Condition(key, tuple(of)) for key, of in where.items()),
            kill=kind == "kill",
            require=("user",) if kind == "require" else (),
            allow=tuple(Condition(k, tuple(of)) for k, of in on.items()) if kind == "allow" else (),
            deny=tuple(Condition(k, tuple(of)) for k, of in on.items()) if kind == "deny" else (),
        )
        for number, (kind, where, on) in enumerate(found)
    )
    planner = Planner(RuleSet(), policies=PolicyIndex(policies))
    for customer, user, model in calls:
        said = {"customer": customer, "user": user, "model": model}
        expected = [
            f"p{number}"
            for number, (kind, where, on) in enumerate(found)
            if all(meets(said, key, of) for key, of in where.items())
            and (
                kind == "kill"
                or (kind == "require" and user is None)
                or (kind == "allow" and not all(meets(said, key, of) for key, of in on.items()))
                or (kind == "deny" and any(meets(said, key, of) for key, of in on.items()))
            )
        ]
        plan = planner.plan(a_call(model, customer=customer, user=user)).policies
        ids = [one.policy.id for one in plan.violations] if plan is not None else []
        assert ids == expected
