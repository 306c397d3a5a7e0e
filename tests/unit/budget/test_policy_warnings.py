"""Policies that only warn: told at most once a minute for each policy and whom it counts."""

from __future__ import annotations

import msgspec

from tests.unit.budget.test_loops import Clock
from tests.unit.budget.test_plans import a_call
from tollspan.budget import Loop, Policy, PolicyWarner, PolicyWarning, RuleSet
from tollspan.usage import Cost, DecisionAction, DecisionNote, Outcome, Usage, UsageEvent

LIST = Policy(id="list", on_violation="warn", message="Ask first.", upgrade_url="https://x.com")
FAST = Policy(
    id="fast", on_violation="warn", loop=Loop(repeats=1, within_seconds=1, of=("customer", "turn"))
)
QUIET = Policy(id="quiet", on_violation="shadow")


class World:
    """A warner, and what it told."""

    def __init__(self) -> None:
        self.rules = RuleSet(policies=(LIST, FAST, QUIET))
        self.clock = Clock()
        self.told: list[PolicyWarning] = []
        self.warner = PolicyWarner(lambda: self.rules, self.told.append, clock=self.clock)

    def see(
        self, *rule_ids: str, action: DecisionAction = "warn", customer: str = "acme"
    ) -> list[str]:
        """Look at a call that violated policies; return of which somebody was told."""
        before = len(self.told)
        event = UsageEvent(
            call=a_call(customer=customer),
            decision=DecisionNote(action=action, rule_ids=rule_ids),
            outcome=Outcome(status="ok"),
            usage=Usage(output=1),
            cost=Cost(status="priced", amount_nanousd=0),
        )
        self.warner.look(event)
        return [one.rule_id for one in self.told[before:]]


def test_a_violation_is_told_with_what_the_rule_says() -> None:
    world = World()
    assert world.see("list", "quiet", "some-budget") == ["list"]
    told = world.told[0]
    assert (told.scope, told.message, told.upgrade_url) == ((), "Ask first.", "https://x.com")
    assert len(told.call_id) == 32


def test_each_policy_tells_once_a_minute_of_each_that_it_counts_apart() -> None:
    world = World()
    assert world.see("list", "fast") == ["list", "fast"]
    assert world.see("list", "fast") == []
    assert world.see("list", "fast", customer="other") == ["fast"]
    assert [one.scope for one in world.told[1:]] == [
        (("customer", "acme"),),
        (("customer", "other"),),
    ]
    world.clock.now += 59.9
    assert world.see("list") == []
    world.clock.now += 0.2
    assert world.see("list") == ["list"]


def test_what_is_only_noted_is_not_told_and_new_rules_count_at_once() -> None:
    world = World()
    assert world.see("list", action="shadow") == []
    assert world.see("quiet") == []
    louder = msgspec.structs.replace(QUIET, on_violation="warn")
    world.rules = RuleSet(policies=(louder,))
    assert world.see("quiet", "list") == ["quiet"]
