"""Past calls against other rules: what would have been refused, and what was held meanwhile."""

from __future__ import annotations

import heapq

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS
from tests.unit.budget.test_plans import a_call
from tollspan.budget import (
    OTHERS,
    REPORT,
    Budget,
    BudgetGate,
    Closer,
    Closing,
    MemoryLedger,
    OnExceed,
    Replay,
    RuleSet,
    parse_rules,
    replaying,
)
from tollspan.usage import (
    BlockBudget,
    Bound,
    BudgetUnit,
    Charge,
    Cost,
    DecisionEvent,
    DecisionNote,
    Event,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
)

USERS = ("u", "v")


class Sized:
    """Bounds that a call says itself: its bytes, in nano-USD and in tokens."""

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        return Bound(amount_nanousd=request.input_bytes)

    def most_of(
        self, request: Request, unit: BudgetUnit, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        return request.input_bytes, ()


class Recorded:
    """Costs that a test sets."""

    def __init__(self) -> None:
        self.amount = 0

    def rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        return Cost(status="priced", amount_nanousd=self.amount)


def made(
    start: int,
    end: int,
    *,
    cost: int | None = 30,
    bound: int = 100,
    user: str | None = None,
    door: str = "instrumentor",
    blocks: tuple[BlockBudget, ...] = (),
) -> UsageEvent:
    """Make the event of a call from one second to another; it used as many tokens as it cost."""
    call = a_call(input_bytes=bound, user=user)
    call = msgspec.structs.replace(
        call,
        started_at_unix_ns=NOON_UNIX_NS + start * 10**9,
        door=door,
        attribution=msgspec.structs.replace(call.attribution, budgets=blocks),
    )
    return UsageEvent(
        call=call,
        decision=DecisionNote(bound_nanousd=bound),
        outcome=Outcome(status="ok", duration_ns=(end - start) * 10**9),
        usage=Usage(output=cost) if cost is not None else Usage(status="unknown"),
        cost=Cost(status="priced", amount_nanousd=cost)
        if cost is not None
        else Cost(status="unpriced"),
    )


def budget(
    limit: int,
    *,
    unit: BudgetUnit = "usd",
    per: tuple[str, ...] = (),
    on_exceed: OnExceed = "deny",
    name: str = "b",
) -> RuleSet:
    one = Budget(id=name, limit=limit, unit=unit, per=per, on_exceed=on_exceed)
    return RuleSet(budgets=(one,))


def replayed(rules: RuleSet, *events: Event, charged: tuple[Charge, ...] = ()) -> Replay:
    replay = Replay(rules, Sized(), charged)
    for event in sorted(events, key=lambda one: one.call.started_at_unix_ns):
        replay.see(event)
    return replay


def refused(replay: Replay) -> tuple[int, int]:
    """How many calls, by cost and by bounds."""
    return replay.outlooks["cost"].denied, replay.outlooks["bounds"].denied


@pytest.mark.parametrize(
    ("limit", "seconds", "expected"),
    [
        pytest.param(150, 10, (0, 1), id="two at the same time hold both bounds"),
        pytest.param(150, 1, (0, 0), id="the second comes when the first is settled"),
        pytest.param(129, 1, (0, 1), id="what is settled leaves no room for a bound"),
        pytest.param(59, 1, (1, 2), id="what both cost is too much"),
        pytest.param(0, 1, (2, 2), id="nothing fits nothing"),
    ],
)
def test_what_runs_at_the_same_time_is_held_at_the_same_time(
    limit: int, seconds: int, expected: tuple[int, int]
) -> None:
    replay = replayed(budget(limit), made(0, seconds), made(1, 2))
    assert refused(replay) == expected
    assert (replay.calls, replay.cost_nanousd) == (2, 60)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(0, 40), st.integers(0, 60)),
        max_size=20,
    ),
    st.integers(0, 120),
)
def test_a_replay_refuses_what_a_plain_count_of_held_and_spent_refuses(
    calls: list[tuple[int, int, int, int]], limit: int
) -> None:
    """Of each call: its start, how long it takes, its cost, and what its bound has over that."""
    calls = sorted(calls, key=lambda one: one[0])
    events = [made(at, at + long, cost=cost, bound=cost + over) for at, long, cost, over in calls]
    for by, holds in (("cost", False), ("bounds", True)):
        spent = held = denied = 0
        running: list[tuple[int, int, int, int]] = []
        for number, (at, long, cost, over) in enumerate(calls):
            while running and running[0][0] <= at:
                _, _, asked, used = heapq.heappop(running)
                held, spent = held - asked, spent + used
            asked = cost + over if holds else cost
            if limit and spent + held + asked <= limit:
                held += asked
                heapq.heappush(running, (at + long, number, asked, cost))
            else:
                denied += 1
        outlook = replayed(budget(limit), *events).outlooks[by]  # type: ignore[index]  # a literal
        assert outlook.denied == denied


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.integers(0, 9),
            st.integers(0, 40),
            st.integers(0, 60),
            st.sampled_from(USERS),
        ),
        max_size=20,
    ),
    st.integers(1, 300),
    st.sampled_from(("usd", "tokens", "calls")),
)
def test_calls_that_rules_let_through_are_let_through_again_by_the_same_rules(
    calls: list[tuple[int, int, int, int, str]], limit: int, unit: BudgetUnit
) -> None:
    rules = budget(limit if unit != "calls" else 1 + limit // 30, unit=unit, per=("user",))
    ledger, rates = MemoryLedger(), Recorded()
    gate, closer = BudgetGate(rules, Sized(), ledger), Closer(rates, ledger)
    running: list[tuple[int, int, UsageEvent, Closing]] = []
    events: list[Event] = []

    def end(until: int) -> None:
        while running and running[0][0] <= until:
            *_, made_before, closing = heapq.heappop(running)
            rates.amount = made_before.cost.amount_nanousd or 0
            events.append(closer.close(closing))

    for number, (at, long, cost, over, user) in enumerate(sorted(calls, key=lambda one: one[0])):
        end(at)
        event = made(at, at + long, cost=cost, bound=cost + over, user=user)
        decision = gate.authorize(event.call)
        if decision.denial is None:
            closing = Closing(event.call, decision, event.usage, event.outcome)
            heapq.heappush(running, (at + long, number, event, closing))
    end(1_000)
    replay = replayed(rules, *events)
    assert refused(replay) == (0, 0)
    assert replay.calls == len(events)


def test_verdicts_are_told_by_rule_and_owner_with_what_the_calls_cost() -> None:
    calls = [made(at, at, cost=30, bound=30, user=user) for at, user in enumerate("uuvu")]
    replay = replayed(budget(59, per=("user",)), *calls)
    (found,) = replay.outlooks["bounds"].verdicts.values()
    assert (found.rule, found.scope, found.action) == ("b", (("user", "u"),), "deny")
    assert (found.calls, found.cost_nanousd) == (2, 60)
    assert found.first_unix_ns == NOON_UNIX_NS + 10**9
    assert replay.outlooks["bounds"].denied_nanousd == 60


@pytest.mark.parametrize("on_exceed", ["shadow", "warn"])
def test_soft_rules_are_told_of_and_refuse_nothing(on_exceed: OnExceed) -> None:
    replay = replayed(budget(40, on_exceed=on_exceed), made(0, 1), made(2, 3))
    assert refused(replay) == (0, 0)
    calls = {by: [one.calls for one in each.verdicts.values()] for by, each in _items(replay)}
    assert calls == {"cost": [1], "bounds": [2]}
    for _, outlook in _items(replay):
        assert {one.action for one in outlook.verdicts.values()} == {on_exceed}


def _items(replay: Replay) -> list[tuple[str, replaying.Outlook]]:
    return list(replay.outlooks.items())


def test_who_is_too_fast_cools_down_by_the_clock_of_then() -> None:
    rules = parse_rules(
        "version: 1\nbudgets:\n  - {id: b, limit: 0.00000006 USD, window: hour, cooldown: 60s}\n"
    )
    hour = 3_600
    calls = [made(at, at, cost=30, bound=30) for at in (0, 1, 2, hour, hour + 1, hour + 63)]
    assert refused(replayed(rules, *calls)) == (2, 2)
    starts = (hour - 4, hour - 3, hour - 2, hour, hour + 59)
    late = [made(at, at, cost=30, bound=30) for at in starts]
    # The third is too much, the fourth within its cool-down, in a new hour; the fifth is not.
    assert refused(replayed(rules, *late)) == (2, 2)


def test_policies_are_replayed_and_count_calls_in_flight_by_the_clock_of_then() -> None:
    rules = parse_rules(
        "version: 1\npolicies:\n  - {id: few, most_in_flight: 1}\n"
        "  - {id: named, require: [user], on_violation: shadow}\n"
    )
    replay = replayed(rules, made(0, 5), made(1, 2), made(6, 7, user="u"))
    assert refused(replay) == (1, 1)
    found = {key[:1]: one.calls for key, one in replay.outlooks["cost"].verdicts.items()}
    assert found == {("few",): 1, ("named",): 1}


def test_what_is_charged_already_counts_where_the_rules_keep_the_budget() -> None:
    charged = (
        Charge(budget_id="b", posted=20, unresolved=5),
        Charge(budget_id="b", unit="tokens", posted=999),
        Charge(budget_id="gone", posted=999),
    )
    assert refused(replayed(budget(124), made(0, 1), charged=charged)) == (0, 1)
    assert refused(replayed(budget(125), made(0, 1), charged=charged)) == (0, 0)
    assert refused(replayed(budget(54), made(0, 1), charged=charged)) == (1, 1)


def test_refusals_of_then_are_left_out_and_counted() -> None:
    call = made(0, 1).call
    event = DecisionEvent(
        call=call, decision=DecisionNote(action="deny"), error_type="tollspan.budget_exceeded"
    )
    replay = replayed(budget(1_000), event, made(1, 2))
    assert (replay.refused_then, replay.calls) == (1, 1)


def test_a_cost_that_nobody_knows_stands_at_its_bound() -> None:
    replay = replayed(budget(150), made(0, 1, cost=None), made(2, 3, cost=60))
    assert refused(replay) == (1, 1)
    assert replay.unknown == 1


def test_tokens_and_calls_are_counted_in_their_units() -> None:
    calls = [made(at, at, cost=30, bound=100) for at in range(3)]
    assert refused(replayed(budget(89, unit="tokens"), *calls)) == (1, 3)
    assert refused(replayed(budget(2, unit="calls"), *calls)) == (1, 1)


def test_what_was_spent_before_it_was_told_is_never_refused() -> None:
    replay = replayed(budget(50), made(0, 0, door=REPORT), made(1, 1, door=REPORT), made(2, 2))
    assert refused(replay) == (1, 1)


def test_blocks_of_then_are_there_again() -> None:
    task = (BlockBudget(id="task", limit=110),)
    replay = replayed(RuleSet(), made(0, 0, blocks=task), made(1, 1, blocks=task), made(2, 2))
    assert refused(replay) == (0, 1)


def test_what_stayed_unresolved_stays_unresolved() -> None:
    event = made(0, 1)
    charge = Charge(budget_id="x", posted=30, unresolved=70)
    kept = msgspec.structs.replace(event, charges=(charge,))
    assert refused(replayed(budget(180), event, made(2, 3))) == (0, 0)
    assert refused(replayed(budget(180), kept, made(2, 3))) == (0, 1)
    again = msgspec.structs.replace(
        made(0, 1), outcome=Outcome(status="ok", duration_ns=10**9, maybe_billed_attempts=1)
    )
    again = msgspec.structs.replace(
        again, charges=(Charge(budget_id="x", posted=30, unresolved=100),)
    )
    assert refused(replayed(budget(230), again, made(2, 3))) == (0, 0)
    assert refused(replayed(budget(229), again, made(2, 3))) == (0, 1)


def test_owners_beyond_number_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "_MOST_OWNERS", 3)
    calls = [made(at, at, user=f"u{at}") for at in range(9)]
    verdicts = replayed(budget(1, per=("user",)), *calls).outlooks["cost"].verdicts
    assert len(verdicts) == 4
    assert verdicts["b", OTHERS, "deny"].calls == 6


def test_events_are_forgotten() -> None:
    replay = replayed(budget(10**9), *[made(at, at) for at in range(50)])
    replay.settle(1 << 63)
    for run in replay._runs.values():
        assert run._ledger.events() == ()
    assert not replay._in_flight
