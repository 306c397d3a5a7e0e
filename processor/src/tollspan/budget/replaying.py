"""Replays past calls against other rules: which of them would not have gone out?

Calls are taken in the order of their starts, and settled when they ended, so that what ran at the
same time is held at the same time. Memory grows with accounts and with calls in flight, not with
calls.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Literal

import msgspec

from tollspan.usage import (
    Attribution,
    Bound,
    BudgetUnit,
    Call,
    Charge,
    Cost,
    DecisionAction,
    DecisionNote,
    Event,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
)

from .bounds import Bounds
from .closing import Closer
from .counting import count_used
from .gate import BudgetGate
from .memory import MemoryLedger
from .plans import read_scope
from .ports import Closing
from .rules import RuleSet
from .values import REPORT, Decision, Hold

By = Literal["cost", "bounds"]
Scope = tuple[tuple[str, str | None], ...]
"""Whose account it is, as (dimension, value) pairs."""
OTHERS = (("others", None),)
"""The scope under which owners are summed of whom there are too many to name."""
_OF_NOBODY: Scope = ()
_MOST_OWNERS = 10_000
_NS_PER_SECOND = 1_000_000_000
_SEEDED_AT_ONCE = 1_000


class Verdicts(msgspec.Struct):
    """What one rule would have done to the calls of one owner.

    Attributes:
        rule: The budget's or policy's id; `error.type` of the denial where none refuses.
        scope: Whose account it is, as (dimension, value) pairs.
        action: `deny`, or what a rule of another kind would have said.
        calls: How many calls.
        cost_nanousd: What they cost, as far as anybody knows.
        first_unix_ns: When the first of them started.
    """

    rule: str
    scope: Scope
    action: DecisionAction
    calls: int = 0
    cost_nanousd: int = 0
    first_unix_ns: int = 0


class Outlook(msgspec.Struct):
    """What rules would have done to all calls.

    Attributes:
        denied: How many calls would not have gone out.
        denied_nanousd: What they cost.
        verdicts: By rule, owner and action.
    """

    denied: int = 0
    denied_nanousd: int = 0
    verdicts: dict[tuple[str, Scope, DecisionAction], Verdicts] = {}


class Replay:
    """Takes past events one by one, the earliest start first, and works out what rules had done.

    Twice at the same time: by `cost`, as if what a call was going to cost had been known before;
    and by `bounds`, as the gate does it, which holds the most that a call can cost while it runs.

    Attributes:
        calls: Calls that were replayed.
        cost_nanousd: What they cost.
        unknown: Of them, those whose cost nobody knows; their bound stands for it.
        refused_then: Calls that were refused when they were made: what they had cost is not known.
        outlooks: The results, by cost and by bounds.

    Args:
        rules: The rules to try.
        bounds: What calls can cost at most.
        charged: What is charged already to accounts of budgets that the rules keep.
    """

    def __init__(self, rules: RuleSet, bounds: Bounds, charged: Iterable[Charge] = ()) -> None:
        self.calls = self.cost_nanousd = self.unknown = self.refused_then = 0
        known = _Known(bounds)
        self._known = known
        self._runs: dict[By, _Run] = {
            "cost": _Run(rules, known, known),
            "bounds": _Run(rules, bounds, known),
        }
        self._in_flight: list[tuple[int, int, UsageEvent, tuple[Decision, ...]]] = []
        units = {budget.id: budget.unit for budget in rules.budgets}
        kept = [one for one in charged if units.get(one.budget_id) == one.unit]
        for run in self._runs.values():
            run.seed(kept)

    @property
    def outlooks(self) -> dict[By, Outlook]:
        """What was found until now."""
        return {by: run.outlook for by, run in self._runs.items()}

    def see(self, event: Event) -> None:
        """Take the next event; it started no earlier than the one before."""
        if not isinstance(event, UsageEvent):
            self.refused_then += event.decision.action == "deny"
            return
        self.settle(event.call.started_at_unix_ns)
        self._known.at_unix_ns = event.call.started_at_unix_ns
        self.calls += 1
        self.cost_nanousd += event.cost.amount_nanousd or 0
        self.unknown += event.cost.amount_nanousd is None
        self._known.event = event
        decisions = tuple([run.decide(event) for run in self._runs.values()])
        ends = event.call.started_at_unix_ns + (event.outcome.duration_ns or 0)
        heapq.heappush(self._in_flight, (ends, self.calls, event, decisions))

    def settle(self, until_unix_ns: int) -> None:
        """Settle the calls that ended until then."""
        while self._in_flight and self._in_flight[0][0] <= until_unix_ns:
            ended_at, _, event, decisions = heapq.heappop(self._in_flight)
            self._known.event = event
            self._known.at_unix_ns = ended_at
            for run, decision in zip(self._runs.values(), decisions, strict=True):
                run.close(event, decision)


class _Run:
    """One world in which the rules are in force."""

    def __init__(self, rules: RuleSet, bounds: Bounds, known: _Known) -> None:
        self.outlook = Outlook()
        self._ledger = _Forgetful(clock=lambda: known.at_unix_ns)
        self._gate = BudgetGate(rules, bounds, self._ledger, clock=known.seconds)
        self._gate.heed_blocks()
        self._closer = Closer(known, self._ledger)

    def seed(self, charges: list[Charge]) -> None:
        """Begin with what is charged already."""
        for start in range(0, len(charges), _SEEDED_AT_ONCE):
            self._ledger.post(_seed(start, charges[start : start + _SEEDED_AT_ONCE]), None)

    def decide(self, event: UsageEvent) -> Decision:
        """Ask for a call, and note what is said of it."""
        call = event.call
        decision = self._gate.authorize(call)
        if decision.denial is not None and call.door == REPORT:  # it was spent before it was asked
            return self._gate.spent(call)
        action = decision.note.action
        cost = event.cost.amount_nanousd or 0
        if decision.denial is not None:
            denial = decision.denial
            self.outlook.denied += 1
            self.outlook.denied_nanousd += cost
            self._note(denial.rule_id or denial.error_type, denial.scope, action, call, cost)
        elif action != "allow":
            said = dict.fromkeys(decision.note.rule_ids, _OF_NOBODY)
            for account, _ in decision.hold.legs if decision.hold is not None else ():
                if account.budget_id in said and account.is_soft:
                    said[account.budget_id] = read_scope(account.scope)
            for rule, scope in said.items():
                self._note(rule, scope, action, call, cost)
        return decision

    def close(self, event: UsageEvent, decision: Decision) -> None:
        """Settle a call that went out; one that was refused was never made."""
        if decision.denial is not None:
            return
        if decision.on_end is not None:
            decision.on_end()
        if decision.hold is None:
            return
        keep = _keeps_unresolved(event)
        self._closer.close(
            Closing(event.call, decision, event.usage, event.outcome, keep_unresolved=keep)
        )

    def _note(
        self, rule: str, scope: Scope, action: DecisionAction, call: Call, cost_nanousd: int
    ) -> None:
        verdicts = self.outlook.verdicts
        found = verdicts.get((rule, scope, action))
        if found is None:
            if len(verdicts) >= _MOST_OWNERS:
                scope = OTHERS
            found = verdicts.setdefault(
                (rule, scope, action),
                Verdicts(rule, scope, action, first_unix_ns=call.started_at_unix_ns),
            )
        found.calls += 1
        found.cost_nanousd += cost_nanousd


class _Known:
    """Bounds and rates of calls that were made: what they used is the most that they can use."""

    def __init__(self, bounds: Bounds) -> None:
        self.event: UsageEvent
        self.at_unix_ns = 0
        self._bounds = bounds

    def seconds(self) -> float:
        """Return the time by the clock of the replay: when a call started, or ended."""
        return self.at_unix_ns / _NS_PER_SECOND

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        """Return what the call cost; where nobody knows, its bound."""
        amount = self.event.cost.amount_nanousd
        if amount is None:
            return self._bounds.bound(request, at_unix_ns, ceiling=ceiling)
        return Bound(amount_nanousd=amount)

    def most_of(
        self, request: Request, unit: BudgetUnit, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        """Return how much of a unit the call used; where nobody knows, the most."""
        usage = self.event.usage
        if usage is None:
            return 0, ()
        if usage.status == "unknown":
            return self._bounds.most_of(request, unit, at_unix_ns, ceiling=ceiling)
        return count_used(self.event.call, usage, unit), ()

    def rate(
        self,
        request: Request,  # noqa: ARG002 - the port's, here and below
        response: Response,  # noqa: ARG002
        usage: Usage,  # noqa: ARG002
        at_unix_ns: int,  # noqa: ARG002
        *,
        ceiling: bool,  # noqa: ARG002
    ) -> Cost:
        """Return the cost as it was recorded."""
        return self.event.cost


class _Forgetful(MemoryLedger):
    """Keeps accounts, and no events."""

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Settle a call's hold, and forget its event."""
        super().post(event, hold)
        self._events.clear()


def _keeps_unresolved(event: UsageEvent) -> bool:
    """Say whether the rest of a call's hold stayed counted, besides that of repeated attempts."""
    attempts = event.outcome.maybe_billed_attempts
    of_attempts = attempts * (event.decision.bound_nanousd or 0)
    return any(
        charge.unresolved > of_attempts if charge.unit == "usd" else not attempts
        for charge in event.charges
        if charge.unresolved
    )


def _seed(number: int, charges: list[Charge]) -> UsageEvent:
    """Make an event of what is charged already."""
    request = Request(provider="", operation="", model="")
    call = Call(
        id=f"{number:032x}", started_at_unix_ns=0, request=request, attribution=Attribution()
    )
    return UsageEvent(
        call=call,
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=None,
        cost=Cost(status="not_billed", amount_nanousd=0),
        charges=tuple(charges),
    )
