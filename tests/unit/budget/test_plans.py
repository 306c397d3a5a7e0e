"""Which budgets count a call, for whom, and what they say of one that does not fit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS, new_id
from tollspan.budget import (
    Balance,
    BudgetGate,
    Closer,
    Closing,
    Decision,
    MemoryLedger,
    parse_rules,
    read_scope,
)
from tollspan.pricing import PriceBook
from tollspan.usage import (
    TOOL_PROVIDER,
    Attribution,
    BudgetExceededError,
    Call,
    CallDeniedError,
    ConfigError,
    LedgerUnavailableError,
    Mode,
    Outcome,
    Request,
    SessionLimitExceededError,
    TagBudgetExceededError,
    UnboundedCallError,
    Usage,
    UsageEvent,
)

BOOK = PriceBook.load()
# 1,000 bytes and the constant of 1,024 tokens in, 100 tokens out, of gpt-4o-mini.
BOUND_NANOUSD = 2024 * 150 + 100 * 600
BOUND_TOKENS = 2024 + 100


def a_call(
    model: str = "gpt-4o-mini", *, tags: dict[str, str] | None = None, **more: object
) -> Call:
    """Make a call; keywords are those of its request, or dimensions of who it is for."""
    asked = {
        "provider": "openai",
        "operation": "chat",
        "input_bytes": 1000,
        "max_output_tokens": 100,
        "service_tier": "default",
        "is_assumed": False,
    }
    whose = {key: value for key, value in more.items() if key in Attribution.__struct_fields__}
    asked |= {key: value for key, value in more.items() if key not in whose}
    return Call(
        id=new_id(),
        started_at_unix_ns=NOON_UNIX_NS,
        request=Request(model=model, **asked),  # type: ignore[arg-type]  # keywords of a test
        attribution=Attribution(
            tags=tuple(sorted((tags or {}).items())),
            **whose,  # type: ignore[arg-type]  # the same
        ),
    )


def a_tool(name: str = "search") -> Call:
    """Make a call of a tool."""
    return a_call(
        name,
        provider=TOOL_PROVIDER,
        operation="execute_tool",
        input_bytes=0,
        max_output_tokens=None,
    )


class World:
    """A gate over the rules of a document, written as its list of budgets."""

    def __init__(self, *budgets: str, mode: Mode = "enforce", defaults: str = "{}") -> None:
        lines = "\n".join(f"  - {{{one}}}" for one in budgets)
        rules = parse_rules(f"version: 1\ndefaults: {defaults}\nbudgets:\n{lines}")
        self.ledger = MemoryLedger()
        self.gate = BudgetGate(rules, BOOK, self.ledger, mode=mode)
        self.closer = Closer(BOOK, self.ledger)

    def touched(self, call: Call) -> list[str]:
        """Name the budgets that count a call."""
        decision = self.gate.authorize(call)
        return [account.budget_id for account, _ in decision.hold.legs] if decision.hold else []

    def end(self, call: Call, decision: Decision, usage: Usage | None) -> UsageEvent:
        """End a call with a usage."""
        outcome = Outcome(status="ok" if usage is not None else "error")
        return self.closer.close(Closing(call, decision, usage, outcome))

    def make(self, call: Call, usage: Usage | None = None) -> CallDeniedError | None:
        """Make a call that uses 10 tokens; return why it was not let through."""
        decision = self.gate.authorize(call)
        if decision.denial is None:
            self.end(call, decision, usage or Usage(input_uncached=7, output=3))
        return decision.denial

    def stands(self, decision: Decision, leg: int = 0) -> Balance:
        """Return how an account of a decision stands."""
        assert decision.hold is not None
        return self.ledger.balance(decision.hold.legs[leg][0])


@pytest.mark.parametrize(
    ("where", "call", "counts"),
    [
        pytest.param("{provider: openai}", a_call(), True, id="provider"),
        pytest.param("{provider: anthropic}", a_call(), False, id="another provider"),
        pytest.param("{model: 'gpt-4o*'}", a_call(), True, id="glob"),
        pytest.param("{model: 'GPT-4O*'}", a_call(), True, id="capitals of a model"),
        pytest.param("{model: gpt-4o}", a_call(), False, id="a glob is the whole name"),
        pytest.param("{model: [o3, '*-mini']}", a_call(), True, id="one of a list"),
        pytest.param("{operation: embeddings}", a_call(), False, id="operation"),
        pytest.param("{tool: search}", a_tool(), True, id="tool"),
        pytest.param("{tool: '*'}", a_call(), False, id="a model is no tool"),
        pytest.param("{model: '*'}", a_tool(), False, id="a tool is no model"),
        pytest.param("{customer: acme}", a_call(customer="acme"), True, id="customer"),
        pytest.param("{customer: ACME}", a_call(customer="acme"), False, id="capitals of people"),
        pytest.param("{customer: '*'}", a_call(), False, id="nobody is not anybody"),
        pytest.param("{tag.tier: free}", a_call(tags={"tier": "free"}), True, id="tag"),
        pytest.param("{tag.tier: free}", a_call(tags={"plan": "free"}), False, id="another tag"),
        pytest.param("{tag.a.b: c}", a_call(tags={"a.b": "c"}), True, id="a tag with a dot"),
        pytest.param(
            "{model: '*mini', customer: acme}", a_call(customer="other"), False, id="all of them"
        ),
        pytest.param("{environment: prod}", a_call(environment="prod"), True, id="environment"),
        pytest.param("{model: '!gpt-4o*'}", a_call(), False, id="a model that is left out"),
        pytest.param("{model: '!GPT-4O*'}", a_call(), False, id="capitals of what is left out"),
        pytest.param("{model: '!o3'}", a_call(), True, id="every model but one"),
        pytest.param("{model: '!o3'}", a_tool(), False, id="a tool is none of these models"),
        pytest.param("{tool: '!search'}", a_tool("fetch"), True, id="every tool but one"),
        pytest.param("{model: ['gpt-*', '!*-mini']}", a_call(), False, id="wanted and left out"),
        pytest.param("{model: ['!*-mini', 'gpt-*']}", a_call("gpt-4o"), True, id="wanted"),
        pytest.param("{customer: '!acme'}", a_call(customer="acme"), False, id="not this customer"),
        pytest.param("{customer: '!acme'}", a_call(customer="beta"), True, id="any other customer"),
        pytest.param("{customer: '!acme'}", a_call(), True, id="nobody is another too"),
        pytest.param("{customer: ['*', '!acme']}", a_call(), False, id="somebody, but not this"),
        pytest.param("{user: '\\!u'}", a_call(user="!u"), True, id="a name that begins so"),
        pytest.param("{user: '!!u'}", a_call(user="!u"), False, id="such a name left out"),
    ],
)
def test_a_budget_counts_the_calls_that_it_is_for(where: str, call: Call, counts: bool) -> None:
    world = World(f"id: some, limit: 1 USD, where: {where}", "id: all, limit: 1 USD")
    assert world.touched(call) == (["some", "all"] if counts else ["all"])


def test_each_value_has_an_account_of_its_own_and_nobody_has_one_too() -> None:
    world = World("id: each, limit: 0.0006 USD, per: [customer]")
    for customer in ("acme", "other", None):
        assert world.make(a_call(customer=customer), Usage(output=500)) is None  # 0.0003 USD
        denial = world.make(a_call(customer=customer))
        assert isinstance(denial, BudgetExceededError)
        assert denial.scope == (("customer", customer),)
        assert denial.spent == 300_000
        assert f"of customer {customer!r}" in str(denial)


def test_a_budget_may_be_divided_by_several_dimensions_at_once() -> None:
    world = World("id: pairs, limit: 1 call, per: [customer, tag.region]")
    for customer in ("a", "b"):
        for region in ("eu", "us"):
            assert world.make(a_call(customer=customer, tags={"region": region})) is None
            denial = world.make(a_call(customer=customer, tags={"region": region}))
            assert denial is not None
            assert dict(denial.scope) == {"customer": customer, "tag.region": region}


def test_single_values_have_limits_of_their_own() -> None:
    world = World("id: each, limit: 1 call, per: [customer], limits: {acme: 3 calls, bad: 0 calls}")
    for customer, limit in (("acme", 3), ("other", 1), ("bad", 0), (None, 1)):
        for _ in range(limit):
            assert world.make(a_call(customer=customer)) is None
        denial = world.make(a_call(customer=customer))
        assert denial is not None
        assert (denial.limit, denial.spent) == (limit, limit)
        assert f"of customer {customer!r} has {limit} call" in str(denial)


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_no_two_owners_share_an_account(one: str, other: str) -> None:
    world = World("id: pairs, limit: 1 USD, per: [customer, user]")
    scopes = {
        decision.hold.legs[0][0].scope
        for customer, user in ((one, other), (one + other, None), (other, one))
        if (decision := world.gate.authorize(a_call(customer=customer, user=user))).hold
    }
    assert len(scopes) == (2 if one == other else 3)
    assert {read_scope(scope) for scope in scopes} >= {(("customer", one), ("user", other))}
    assert all(json.loads(scope) for scope in scopes)


@pytest.mark.parametrize(
    ("budget", "kind"),
    [
        ("per: [session]", SessionLimitExceededError),
        ("per: [customer, session]", SessionLimitExceededError),
        ("per: [tag.job]", TagBudgetExceededError),
        ("where: {tag.job: '*'}", TagBudgetExceededError),
        ("per: [customer]", BudgetExceededError),
        ("window: day", BudgetExceededError),
    ],
)
def test_each_kind_of_budget_has_an_error_of_its_own(
    budget: str, kind: type[BudgetExceededError]
) -> None:
    denial = World(f"id: one, limit: 0 calls, {budget}").make(a_call(tags={"job": "7"}))
    assert type(denial) is kind
    assert denial.error_type.startswith("tollspan.")
    assert isinstance(denial, BudgetExceededError)
    assert denial.call_id is not None


def test_calls_are_counted_one_by_one() -> None:
    world = World("id: few, limit: 2 calls, window: day")
    assert [world.make(a_call()) is None for _ in range(3)] == [True, True, False]
    denial = world.make(a_call())
    assert denial is not None
    assert (denial.unit, denial.limit, denial.spent, denial.asked) == ("calls", 2, 2, 1)
    assert "has 2 calls: 2 calls spent, 0 calls held; this call may use up to 1 call" in str(denial)


def test_a_call_that_the_provider_refused_is_not_counted() -> None:
    world = World("id: few, limit: 1 call")
    call = a_call()
    decision = world.gate.authorize(call)
    assert world.stands(decision).held == 1
    world.end(call, decision, None)
    assert world.make(a_call()) is None


def test_tokens_are_held_by_their_bound_and_settled_by_what_was_used() -> None:
    world = World(f"id: tokens, limit: {BOUND_TOKENS + 10} tokens")
    call = a_call()
    first = world.gate.authorize(call)
    assert world.stands(first).held == BOUND_TOKENS
    assert world.gate.authorize(a_call()).denial is not None
    event = world.end(call, first, Usage(input_uncached=1, cache_read=2, output=3, reasoning=4))
    assert [(one.unit, one.posted) for one in event.charges] == [("tokens", 10)]
    assert world.make(a_call()) is None
    assert world.gate.authorize(a_call()).denial is not None


def test_tokens_that_nobody_knows_stay_counted_as_bound() -> None:
    world = World("id: tokens, limit: 1000000 tokens")
    call = a_call()
    decision = world.gate.authorize(call)
    world.end(call, decision, Usage(status="unknown"))
    assert (world.stands(decision).posted, world.stands(decision).unresolved) == (0, BOUND_TOKENS)


def test_more_tokens_than_were_held_are_an_overrun() -> None:
    world = World("id: tokens, limit: 1000000 tokens")
    call = a_call()
    event = world.end(call, world.gate.authorize(call), Usage(output=BOUND_TOKENS + 5))
    assert event.marks == ("overrun",)
    assert event.charges[0].overrun == 5


def test_a_tool_uses_no_tokens_and_needs_no_price_to_be_counted() -> None:
    world = World("id: tokens, limit: 10 tokens", "id: calls, limit: 1 call")
    assert world.make(a_tool(), Usage(quantities=(("tool_calls", 1),))) is None
    denial = world.make(a_tool())
    assert denial is not None
    assert denial.rule_id == "calls"


def test_tokens_of_a_model_that_nobody_knows_are_bounded_by_the_request_alone() -> None:
    world = World("id: tokens, limit: 100000 tokens", defaults="{on_unpriced: allow}")
    unknown = a_call("no-such-model", provider="nobody", is_assumed=True)
    decision = world.gate.authorize(unknown)
    assert world.stands(decision).held == BOUND_TOKENS
    denial = world.make(a_call("no-such-model", provider="nobody", max_output_tokens=None))
    assert isinstance(denial, UnboundedCallError)
    assert "maximum of output tokens" in str(denial)


def test_one_call_counts_in_money_tokens_and_calls_at_once() -> None:
    world = World(
        "id: money, limit: 1 USD", "id: tokens, limit: 10000 tokens", "id: calls, limit: 5 calls"
    )
    call = a_call()
    decision = world.gate.authorize(call)
    assert [world.stands(decision, leg).held for leg in range(3)] == [
        BOUND_NANOUSD,
        BOUND_TOKENS,
        1,
    ]
    event = world.end(call, decision, Usage(input_uncached=10, output=10))
    assert [(one.unit, one.posted) for one in event.charges] == [
        ("usd", 10 * 150 + 10 * 600),
        ("tokens", 20),
        ("calls", 1),
    ]
    assert [world.stands(decision, leg).held for leg in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("limit", ["0 USD", "0 tokens", "0 calls"])
def test_a_limit_of_0_allows_nothing(limit: str) -> None:
    world = World(f"id: none, limit: {limit}")
    for call in (a_call(), a_tool()):
        denial = world.make(call)
        assert isinstance(denial, BudgetExceededError)
        assert not denial.recovery.retryable
        assert denial.recovery.owner_action_required


@pytest.mark.parametrize("action", ["warn", "shadow"])
def test_a_soft_budget_lets_calls_through_and_says_that_they_did_not_fit(action: str) -> None:
    world = World(f"id: soft, limit: 1 call, on_exceed: {action}", "id: hard, limit: 3 calls")
    decisions = []
    for _ in range(4):
        call = a_call()
        decision = world.gate.authorize(call)
        decisions.append(decision)
        if decision.denial is None:
            world.end(call, decision, Usage(output=1))
    assert [one.note.action for one in decisions] == ["allow", action, action, "deny"]
    assert decisions[0].note.rule_ids == ("soft", "hard")
    assert decisions[1].note.rule_ids == ("soft",)
    assert decisions[3].note.rule_ids == ("hard",)
    assert world.stands(decisions[0]).posted == 3


def test_a_warning_is_sharper_than_a_shadow() -> None:
    world = World(
        "id: s, limit: 0 calls, on_exceed: shadow", "id: w, limit: 0 calls, on_exceed: warn"
    )
    note = world.gate.authorize(a_call()).note
    assert (note.action, note.rule_ids) == ("warn", ("s", "w"))


@pytest.mark.parametrize(
    ("budget", "call"),
    [
        pytest.param("id: a, limit: 0 USD", a_call(), id="no room"),
        pytest.param("id: a, limit: 1 USD", a_call("no-such", provider="nobody"), id="no price"),
        pytest.param("id: a, limit: 1 USD", a_call(max_output_tokens=None), id="no bound"),
        pytest.param(
            "id: a, limit: 9 tokens", a_call(max_output_tokens=None), id="no bound in tokens"
        ),
    ],
)
def test_who_observes_refuses_nothing_and_says_what_would_have_been(
    budget: str, call: Call
) -> None:
    strict = "{on_unbounded: deny, on_unpriced: deny}"
    assert World(budget, defaults=strict).gate.authorize(call).denial is not None
    world = World(budget, defaults=strict, mode="observe")
    decision = world.gate.authorize(call)
    assert decision.denial is None
    assert (decision.note.action, decision.note.mode) == ("shadow", "observe")
    event = world.end(call, decision, Usage(output=3))
    assert [one.budget_id for one in event.charges] == ["a"]


def test_who_observes_says_so_of_calls_that_fit_too() -> None:
    decision = World("id: a, limit: 1 USD", mode="observe").gate.authorize(a_call())
    assert (decision.note.action, decision.note.mode) == ("allow", "observe")


def test_a_gate_that_is_off_asks_nobody_and_counts_what_is_spent() -> None:
    class Nobody(MemoryLedger):
        def hold(self, hold: object) -> None:
            raise AssertionError("asked")

    world = World("id: a, limit: 0 USD", mode="off")
    world.gate = BudgetGate(world.gate.rules, BOOK, Nobody(), mode="off")
    call = a_call()
    decision = world.gate.authorize(call)
    assert (decision.denial, decision.note.mode) == (None, "off")
    world.end(call, decision, Usage(output=10))
    assert world.stands(decision).posted == 6_000


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_rules_that_can_not_be_read_stop_nothing_that_is_not_enforced(mode: Mode) -> None:
    world = World("id: a, limit: 1 USD", mode=mode)
    world.gate.refuse_all(ConfigError("broken"))
    assert world.gate.authorize(a_call()).denial is None


def test_an_authority_that_is_away_stops_nothing_that_is_only_observed() -> None:
    class Away(MemoryLedger):
        def hold(self, hold: object) -> None:
            raise LedgerUnavailableError("away")

    gate = BudgetGate(World("id: a, limit: 1 USD").gate.rules, BOOK, Away(), mode="observe")
    decision = gate.authorize(a_call())
    assert decision.denial is None
    assert (decision.note.action, decision.note.is_unavailable) == ("shadow", True)


def test_accounts_follow_each_kind_of_call_into_its_next_period() -> None:
    world = World("id: daily, limit: 1 call, per: [customer], window: day")
    day_ns = 86_400_000_000_000
    for days in (0, 1, 2, 1, 0):
        for customer in ("a", "b"):
            call = a_call(customer=customer)
            later = Call(
                id=call.id,
                started_at_unix_ns=NOON_UNIX_NS + days * day_ns,
                request=call.request,
                attribution=call.attribution,
            )
            decision = world.gate.authorize(later)
            account = (
                decision.hold.legs[0][0].period
                if decision.hold
                else decision.denial.resets_at.date().isoformat()  # type: ignore[union-attr]  # a denial
            )
            assert account == f"2026-11-{22 + days + (decision.hold is None)}"


def test_ten_thousand_customers_are_told_apart_and_cost_a_bounded_memory() -> None:
    world = World("id: each, limit: 1 call, per: [customer]")
    for number in range(10_000):
        assert world.make(a_call(customer=f"c{number}")) is None
    assert all(world.make(a_call(customer=f"c{number}")) for number in range(0, 10_000, 97))
