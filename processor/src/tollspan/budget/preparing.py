"""Prepares calls of which the rules ask for more than a bound in each account."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy

import msgspec

from tollspan.usage import Bound, BudgetUnit, Call, DecisionNote, Mode, Request

from . import asking, denials
from .answering import Answers
from .bounds import Bounds
from .cooldowns import Cooldowns
from .fitting import may_change
from .idle import Place
from .idle_plans import IdlePlan, follow
from .judging import Judge
from .looked_periods import Periods
from .noting import note_of
from .plans import Plan, Planner
from .ports import OnUnpriced
from .rules import RuleSet
from .typical import TypicalBounds
from .values import REPORT, Change, Decision, Hold
from .verdicts import JudgedPlan

ALLOWED_UNTOUCHED = Decision(note=DecisionNote())
"""The decision on a call that no rule touches."""
Ready = tuple[Hold, Bound, Plan | JudgedPlan | IdlePlan]
"""What is to be held for a call, the most that it can cost, and its plan."""


class Preparer:
    """What is to be held for a call, by one set of rules. Safe for threads.

    Args:
        rules: The rules.
        planner: Plans calls by them.
        bounds, typical: What calls can cost at most, and what they typically do.
        judge, cooldowns: What policies say of single calls, and who has to wait.
        answers: Denies calls.
        periods: Names the periods of idle windows.
        mode: As the gate's.
    """

    def __init__(  # noqa: PLR0913 - all that one gate has
        self,
        rules: RuleSet,
        planner: Planner,
        *,
        bounds: Bounds,
        typical: TypicalBounds,
        judge: Judge,
        cooldowns: Cooldowns,
        answers: Answers,
        periods: Periods,
        mode: Mode,
    ) -> None:
        self._rules = rules
        self._planner = planner
        self._bounds = bounds
        self._typical = typical
        self._judge = judge
        self._cooldowns = cooldowns
        self._answers = answers
        self._periods = periods
        self._asked: Collection[Place] = ()
        self._mode: Mode = mode
        self.injects = rules.on_unbounded == "inject" and mode == "enforce"

    def knowing(self, asked: Collection[Place]) -> Preparer:
        """Return one that takes what is known of these periods, since they were asked for."""
        preparer = copy(self)
        preparer._asked = {*self._asked, *asked}  # noqa: SLF001 - a copy of this
        return preparer

    def further(self, call: Call, plan: Plan, bound: Bound, on_unpriced: str) -> Decision | Ready:
        """Do as the gate does where rules ask for more than a bound in each account.

        Raises:
            PeriodUnknownError: The authority must say first which periods run.
        """
        if not plan.is_idle:
            return self._further(call, plan, bound, on_unpriced)
        plan = self._periods.settled(call, plan, self._asked)
        ready = self._further(call, plan, bound, on_unpriced)
        if isinstance(ready, Decision):
            return follow(call.id, ready, self._periods)
        hold, bound, of_call = ready
        return hold, bound, IdlePlan(call.id, of_call, self._periods)

    def _further(
        self, call: Call, plan: Plan, bound: Bound, on_unpriced: str
    ) -> Decision | tuple[Hold, Bound, Plan | JudgedPlan]:
        cooling = self._cooldowns.find(plan.cooling) if plan.cooling else None
        if cooling is not None and call.door != REPORT and self._mode == "enforce":
            account, wait_seconds = cooling
            budget = self._answers.budgets[account.budget_id]
            denial = denials.cooling(call, account, wait_seconds, budget)
            return Decision(note=note_of(bound, "deny", (account.budget_id,)), denial=denial)
        if plan.policies is None:
            return self._units(call, plan, bound, on_unpriced)
        verdict = self._judge.judge(call, plan.policies, bound, on_unpriced)
        if verdict.denial is not None:
            return verdict.refused()
        if not plan.accounts:
            return verdict.join(call, Decision(note=DecisionNote(mode=self._mode)))
        ready = self._units(call, plan, bound, on_unpriced)
        if isinstance(ready, Decision):
            return verdict.join(call, ready)
        hold, bound, plan = ready
        return hold, bound, JudgedPlan(call, plan, verdict)

    def _units(
        self, call: Call, plan: Plan, bound: Bound, on_unpriced: str
    ) -> Decision | tuple[Hold, Bound, Plan]:
        """Do as the gate does where some account counts something else than money."""
        request = call.request
        if self.injects and request.max_output_tokens is None and may_change(call):
            plan = self._injected(call, plan)
        amounts: dict[BudgetUnit, int] = {
            "usd": bound.amount_nanousd or 0,
            "calls": asking.calls(call),
        }
        units = {account.unit for account in plan.accounts}
        hard_units = plan.hard_units
        if "usd" in units and ("usd" in hard_units or not hard_units):
            is_open = bound.amount_nanousd is None and (
                "unpriced" not in bound.reasons or on_unpriced == "deny"
            )
            if is_open or (bound.reasons and self.refuses(request, bound)):
                return self._answers.denied(call, denials.no_bound(call, bound), bound, plan)
        for unit in sorted(units - amounts.keys()):
            most, reasons = self._bounds.most_of(
                request, unit, call.started_at_unix_ns, ceiling=on_unpriced == "ceiling"
            )
            is_open = most is None or (bool(reasons) and asking.refuses(self._rules, request, unit))
            if is_open and (unit in hard_units or not hard_units):
                by_unit = Bound(amount_nanousd=most, reasons=reasons)
                return self._answers.denied(call, denials.no_bound(call, by_unit), bound, plan)
            amounts[unit] = most or 0
        legs, unasked = asking.split(plan.accounts, amounts)
        if plan.typical:
            legs = self._typical.lower(request, legs, plan.typical)
        hold = Hold(
            call_id=call.id,
            started_at_unix_ns=call.started_at_unix_ns,
            legs=legs,
            is_money=False,
            unasked=unasked,
        )
        if self._mode == "off":
            return Decision(note=note_of(bound, "allow", plan.rule_ids, mode="off"), hold=hold)
        if not legs:
            return plan.allow(hold, bound)
        return hold, bound, plan

    def form(self, call: Call) -> Decision | tuple[Hold, Bound, Plan]:
        """Bound another form of a call that was judged, and name its accounts.

        Raises:
            PeriodUnknownError: As in `further`.
        """
        plan = self._planner.plan(call)
        if plan.is_idle:
            plan = self._periods.settled(call, plan, self._asked)
        if plan.policies is not None:
            for violation in plan.policies.violations:
                if violation.is_hard:
                    return Decision(note=DecisionNote(action="deny"), denial=violation.denial(call))
        if not plan.accounts:
            return ALLOWED_UNTOUCHED
        request = call.request
        on_unpriced = self._on_unpriced(request)
        bound = self._bounds.bound(
            request, call.started_at_unix_ns, ceiling=on_unpriced == "ceiling"
        )
        return self._units(call, plan, bound, on_unpriced)

    def refuses(self, request: Request, bound: Bound) -> bool:
        """Say whether the rules refuse what only assumptions or the model's own limits bound."""
        rules = self._rules
        if rules.on_unbounded == "deny" and request.max_output_tokens is None:
            return True
        if rules.on_unbounded_input == "deny" and request.unbounded:
            return request.input_reserve_tokens is None
        return rules.on_unpriced == "deny" and denials.is_unpriced(bound)

    def most_output(self, call: Call) -> int | None:
        """Return the most that a model writes as one answer; None where nobody knows."""
        ceiling = self._on_unpriced(call.request) == "ceiling"
        return asking.most_output(self._bounds, call, ceiling=ceiling)

    def _on_unpriced(self, request: Request) -> OnUnpriced:
        """Return what holds for models without a price where a request is sent."""
        return self._rules.on_unpriced or ("allow" if request.is_assumed else "ceiling")

    def _injected(self, call: Call, plan: Plan) -> Plan:
        """Have the model's own limit of output sent, where one is known."""
        most = self.most_output(call)
        if most is None:
            return plan
        limited = msgspec.structs.replace(call.request, max_output_tokens=most)
        change = Change(asked=call.request, request=limited)
        return msgspec.structs.replace(plan, change=change)
