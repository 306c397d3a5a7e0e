"""The gate: bounds a call, finds its accounts, and holds the money before the call is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from copy import copy
from itertools import repeat

import msgspec

from tollspan.usage import (
    Bound,
    BudgetUnit,
    Call,
    CallDeniedError,
    DecisionAction,
    DecisionNote,
    LedgerError,
    LedgerUnavailableError,
    Mode,
    Request,
    TollspanError,
)

from . import asking, denials
from .bounds import Bounds
from .cooldowns import Cooldowns
from .fitting import Fitted, Fitter, may_change
from .judging import Judge
from .looking import Looking
from .noting import never_held, note_of
from .plans import NOWHEN, InjectingPlan, ObservedPlan, Plan, Planner
from .policing import PolicyIndex
from .ports import Authority, Busy, OnUnpriced, is_asyncio
from .rules import Budget, RuleSet
from .typical import TypicalBounds
from .values import REPORT, Account, Balance, Change, Decision, Hold, Refusal
from .verdicts import JudgedPlan

_ALLOWED_UNTOUCHED = Decision(note=DecisionNote())
_Ready = tuple[Hold, Bound, Plan | JudgedPlan]


class BudgetGate:
    """Decides on calls by the rules in force and one authority.

    Safe for threads and tasks. The accounts of each kind of call are worked out once and kept until
    the first of their periods ends.

    Args:
        rules: The rules in force at first.
        bounds: What calls can cost at most.
        authority: Who holds the money.
        acquire_timeout_seconds: Longest wait of a task for the authority, before
            `on_unavailable` decides; threads wait as long as the authority itself lets them.
        mode: `observe` refuses nothing and says of each call what it would have done; `off` asks
            nobody, and only counts what is spent.
        agents: Names the agents around the call that is being made, outermost first.
        clock: Seconds, by which calls that are alike are counted, and owners cool down.
    """

    def __init__(
        self,
        rules: RuleSet,
        bounds: Bounds,
        authority: Authority,
        *,
        acquire_timeout_seconds: float = 0.25,
        mode: Mode = "enforce",
        agents: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge = Judge(mode, agents, clock=clock)
        self._cooldowns = Cooldowns(clock)
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self._bounds = bounds
        self._authority = authority
        self.typical = TypicalBounds(bounds)
        self._mode: Mode = mode
        self._heeds_blocks = False
        self.use(rules)

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def use(self, rules: RuleSet, *, no_prices: TollspanError | None = None) -> None:
        """Put other rules in force for the calls to come.

        Args:
            rules: The rules.
            no_prices: Why there are no prices to judge by: what a budget could refuse is denied.
        """
        planner = self._new_planner(rules)
        self._rules = rules
        self._cooldowns.forget()
        self._planner = planner
        if self._heeds_blocks and not planner.heeds_blocks:  # another thread said so meanwhile
            self._planner = self._new_planner(rules)
        self._has_no_rules = False
        self._refusing = no_prices
        self._injects = rules.on_unbounded == "inject" and self._mode == "enforce"
        self.typical.is_wanted = any(one.bound == "typical" for one in rules.budgets)

    def ask(self, authority: Authority) -> None:
        """Have another authority hold the money of the calls to come."""
        self._authority = authority

    def heed_blocks(self) -> None:
        """Look from here on at the budgets of blocks too; who opens none does not pay for that."""
        self._heeds_blocks = True
        while not self._planner.heeds_blocks:
            self._planner = self._new_planner(self._rules)

    def _new_planner(self, rules: RuleSet) -> Planner:
        is_judged = bool(rules.policies) and self._mode != "off"
        return Planner(
            rules,
            is_soft=self._mode != "enforce",
            heeds_blocks=self._heeds_blocks,
            policies=PolicyIndex(rules.policies) if is_judged else None,
            kind=self._kind_of_plan(rules),
        )

    def _kind_of_plan(self, rules: RuleSet) -> type[Plan]:
        if self._mode != "enforce":
            return ObservedPlan
        return InjectingPlan if rules.on_unbounded == "inject" else Plan

    def refuse_all(self, problem: TollspanError) -> None:
        """Deny every call until there are rules to `use`: those that there are can't be read."""
        self._has_no_rules = True
        self._refusing = problem

    def authorize(self, call: Call) -> Decision:
        """Decide on a call, waiting a bounded time for the authority."""
        ready = self._prepare(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound, plan = ready
        try:
            refusal = self._authority.hold(hold)
        except LedgerError as error:
            return plan.join(self._unavailable(call, hold, bound, error))
        if refusal is None:
            return plan.allow(hold, bound)
        if refusal.is_held or not plan.may_fit:
            return plan.join(self._short(refusal, call, hold, bound))
        return plan.join(self._fit(refusal, call, hold, bound))

    async def authorize_async(self, call: Call) -> Decision:
        """Decide on a call; what would have to wait is done in another thread and awaited."""
        ready = self._prepare(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound, plan = ready
        try:
            refusal = self._authority.hold_now(hold)
            if isinstance(refusal, Busy):
                refusal = await self._hold_soon(hold)
        except LedgerError as error:
            return plan.join(self._unavailable(call, hold, bound, error))
        if refusal is None:
            return plan.allow(hold, bound)
        if refusal.is_held or not plan.may_fit:
            return plan.join(self._short(refusal, call, hold, bound))
        return plan.join(await self._fit_async(refusal, call, hold, bound))

    async def _hold_soon(self, hold: Hold) -> Refusal | None:
        """Await a hold that another thread makes; give up, and give back, when it takes long."""
        if not is_asyncio():
            return self._authority.hold(hold)
        held = asyncio.wrap_future(self._authority.hold_soon(hold))
        try:
            return await asyncio.wait_for(held, self._acquire_timeout_seconds)
        except TimeoutError as error:
            self._authority.release_soon(hold.call_id)
            raise LedgerUnavailableError(
                f"no answer within {self._acquire_timeout_seconds} s"
            ) from error

    def check(self, call: Call, looking: Looking | None = None) -> Decision:
        """Say what `authorize` would say now. It holds nothing, and may wait for the authority.

        Args:
            call: The call.
            looking: Says how accounts stand; None for the authority.
        """
        gate = copy(self)
        gate._judge = self._judge.looking()  # noqa: SLF001 - a copy of this
        gate._authority = looking or Looking(self._authority.balances)  # noqa: SLF001 - a copy of this
        return gate.authorize(call)

    def spent(self, call: Call) -> Decision:
        """Name the accounts of what was used without asking: it is posted, over the limit too."""
        plan = self._planner.every_call
        if not plan.since_unix_ns <= call.started_at_unix_ns < plan.until_unix_ns:
            plan = self._planner.plan(call)
        note = note_of(Bound(amount_nanousd=0), "allow", plan.rule_ids, mode=self._mode)
        return Decision(note=note, hold=never_held(call, plan))

    def budget(self, rule_id: str) -> Budget | None:
        """Return the budget in force of that id."""
        return self._planner.budgets.get(rule_id)

    def accounts(self, call: Call) -> tuple[Account, ...]:
        """Name the accounts that count a call; last those of which it may be able to use nothing.

        Raises:
            TollspanError: The rules can't be read: nobody knows.
        """
        if self._refusing is not None and self._has_no_rules:
            raise self._refusing
        named = self.spent(call).hold
        if named is None:
            return ()
        return (*[account for account, _ in named.legs], *named.unasked)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order. It may wait for the authority.

        Raises:
            LedgerError: The authority can't answer.
        """
        return self._authority.balances(accounts)

    def abandon(self, call_id: str) -> None:
        """Give back what a call holds that was never made."""
        self._judge.leave(call_id)
        self._authority.release_soon(call_id)

    @property
    def in_flight(self) -> int:
        """How many calls of this process are under way, of those that a policy counts."""
        return self._judge.in_flight

    def forget(self) -> None:
        """Begin anew in a forked child: the calls under way are the parent's."""
        self._judge.forget()
        self._cooldowns.forget()

    def _prepare(self, call: Call) -> Decision | _Ready:
        """Bound the call and name its accounts, or decide at once."""
        at_unix_ns = call.started_at_unix_ns
        planner = self._planner
        plan = planner.every_call
        if not plan.since_unix_ns <= at_unix_ns < plan.until_unix_ns:
            plan = planner.plan(call)
        if self._refusing is not None and (
            plan.accounts or self._has_no_rules or plan.needs_prices
        ):
            denial = denials.unreadable(call, self._refusing)
            return self._denied(call, denial, plan=plan, is_unavailable=True)
        if not plan.accounts and plan.is_plain:
            return _ALLOWED_UNTOUCHED
        request = call.request
        on_unpriced = self._rules.on_unpriced
        if on_unpriced is None:
            on_unpriced = "allow" if request.is_assumed else "ceiling"
        bound = self._bounds.bound(request, at_unix_ns, ceiling=on_unpriced == "ceiling")
        amount = bound.amount_nanousd
        if not plan.is_plain:
            return self._prepare_further(call, plan, bound, on_unpriced)
        if amount is None:
            if "unpriced" not in bound.reasons or on_unpriced == "deny":
                return self._denied(call, denials.no_bound(call, bound), bound, plan)
            amount = 0
        elif bound.reasons and self._refuses(request, bound):
            return self._denied(call, denials.no_bound(call, bound), bound, plan)
        legs = tuple(zip(plan.accounts, repeat(amount)))
        hold = Hold(call_id=call.id, started_at_unix_ns=at_unix_ns, legs=legs)
        if self._mode == "off":
            return Decision(note=note_of(bound, "allow", plan.rule_ids, mode="off"), hold=hold)
        return hold, bound, plan

    def _prepare_further(
        self, call: Call, plan: Plan, bound: Bound, on_unpriced: str
    ) -> Decision | _Ready:
        """Do as `_prepare` does where rules ask for more than a bound in each account."""
        cooling = self._cooldowns.find(plan.cooling) if plan.cooling else None
        if cooling is not None and call.door != REPORT and self._mode == "enforce":
            account, wait_seconds = cooling
            budget = self._planner.budgets[account.budget_id]
            denial = denials.cooling(call, account, wait_seconds, budget)
            return Decision(note=note_of(bound, "deny", (account.budget_id,)), denial=denial)
        if plan.policies is None:
            return self._prepare_units(call, plan, bound, on_unpriced)
        verdict = self._judge.judge(call, plan.policies, bound, on_unpriced)
        if verdict.denial is not None:
            return verdict.refused()
        if not plan.accounts:
            return verdict.join(call, Decision(note=DecisionNote(mode=self._mode)))
        ready = self._prepare_units(call, plan, bound, on_unpriced)
        if isinstance(ready, Decision):
            return verdict.join(call, ready)
        hold, bound, plan = ready
        return hold, bound, JudgedPlan(call, plan, verdict)

    def _prepare_units(
        self, call: Call, plan: Plan, bound: Bound, on_unpriced: str
    ) -> Decision | tuple[Hold, Bound, Plan]:
        """Do as `_prepare` does where some account counts something else than money."""
        request = call.request
        if self._injects and request.max_output_tokens is None and may_change(call):
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
            if is_open or (bound.reasons and self._refuses(request, bound)):
                return self._denied(call, denials.no_bound(call, bound), bound, plan)
        for unit in sorted(units - amounts.keys()):
            most, reasons = self._bounds.most_of(
                request, unit, call.started_at_unix_ns, ceiling=on_unpriced == "ceiling"
            )
            is_open = most is None or (bool(reasons) and asking.refuses(self._rules, request, unit))
            if is_open and (unit in hard_units or not hard_units):
                by_unit = Bound(amount_nanousd=most, reasons=reasons)
                return self._denied(call, denials.no_bound(call, by_unit), bound, plan)
            amounts[unit] = most or 0
        legs, unasked = asking.split(plan.accounts, amounts)
        if plan.typical:
            legs = self.typical.lower(request, legs, plan.typical)
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

    def _injected(self, call: Call, plan: Plan) -> Plan:
        """Have the model's own limit of output sent, where one is known."""
        most = self._most_output(call)
        if most is None:
            return plan
        limited = msgspec.structs.replace(call.request, max_output_tokens=most)
        change = Change(asked=call.request, request=limited)
        return msgspec.structs.replace(plan, change=change)

    def _most_output(self, call: Call) -> int | None:
        """Return the most that a model writes as one answer; None where nobody knows."""
        ceiling = self._on_unpriced(call.request) == "ceiling"
        return asking.most_output(self._bounds, call, ceiling=ceiling)

    def _on_unpriced(self, request: Request) -> OnUnpriced:
        """Return what holds for models without a price where a request is sent."""
        return self._rules.on_unpriced or ("allow" if request.is_assumed else "ceiling")

    def _prepare_form(self, call: Call) -> Decision | tuple[Hold, Bound, Plan]:
        """Bound another form of a call that was judged, and name its accounts."""
        plan = self._planner.plan(call)
        if plan.policies is not None:
            for violation in plan.policies.violations:
                if violation.is_hard:
                    return Decision(note=DecisionNote(action="deny"), denial=violation.denial(call))
        if not plan.accounts:
            return _ALLOWED_UNTOUCHED
        request = call.request
        on_unpriced = self._on_unpriced(request)
        bound = self._bounds.bound(
            request, call.started_at_unix_ns, ceiling=on_unpriced == "ceiling"
        )
        return self._prepare_units(call, plan, bound, on_unpriced)

    def _refuses(self, request: Request, bound: Bound) -> bool:
        """Say whether the rules refuse what only assumptions or the model's own limits bound."""
        rules = self._rules
        if rules.on_unbounded == "deny" and request.max_output_tokens is None:
            return True
        if rules.on_unbounded_input == "deny" and request.unbounded:
            return request.input_reserve_tokens is None
        return rules.on_unpriced == "deny" and denials.is_unpriced(bound)

    def _denied(
        self,
        call: Call,
        denial: CallDeniedError,
        bound: Bound = Bound(amount_nanousd=None),  # noqa: B008 - frozen
        plan: Plan = NOWHEN,
        *,
        is_unavailable: bool = False,
    ) -> Decision:
        """Deny a call before its authority is asked; where no budget refuses, let it through.

        Then nothing is held for it, and what it costs is posted to its accounts all the same.
        """
        may_refuse = plan.hard_units or not plan.accounts or self._has_no_rules or plan.needs_prices
        if self._mode == "enforce" and may_refuse:
            note = note_of(bound, "deny", is_unavailable=is_unavailable)
            return Decision(note=note, denial=denial)
        note = note_of(
            bound,
            self._soft_action(plan.rule_ids),
            plan.rule_ids,
            is_unavailable=is_unavailable,
            mode=self._mode,
        )
        return Decision(note=note, hold=never_held(call, plan))

    def _soft_action(self, rule_ids: tuple[str, ...]) -> DecisionAction:
        """Say what a call is that goes through although these rules have no room for it."""
        if self._mode != "enforce":
            return "shadow" if self._mode == "observe" else "allow"
        budgets = self._planner.budgets
        found = [budgets[rule_id] for rule_id in rule_ids if rule_id in budgets]
        return "warn" if any(one.on_exceed == "warn" for one in found) else "shadow"

    def _unavailable(self, call: Call, hold: Hold, bound: Bound, error: LedgerError) -> Decision:
        rule_ids = tuple(dict.fromkeys([account.budget_id for account, _ in hold.legs]))
        hard_ids = [account.budget_id for account, _ in hold.legs if not account.is_soft]
        is_allowed = self._rules.on_unavailable != "deny"
        if hard_ids and not is_allowed:
            denial = denials.unavailable(call, hard_ids[0], bound, error)
            note = note_of(bound, "deny", rule_ids, is_unavailable=True)
            return Decision(note=note, denial=denial)
        action = "allow" if is_allowed else self._soft_action(rule_ids)
        note = note_of(bound, action, rule_ids, is_unavailable=True, mode=self._mode)
        return Decision(note=note, hold=hold)

    def _short(self, refusal: Refusal, call: Call, hold: Hold, bound: Bound) -> Decision:
        """Decide on a call that some account has no room for."""
        rule_ids = tuple(dict.fromkeys([one.account.budget_id for one in refusal.balances]))
        if refusal.is_held:
            action = self._soft_action(rule_ids)
            return Decision(note=note_of(bound, action, rule_ids, mode=self._mode), hold=hold)
        return self._refuse(refusal, call, bound)

    def _refuse(self, refusal: Refusal, call: Call, bound: Bound) -> Decision:
        rule_ids = tuple(dict.fromkeys([one.account.budget_id for one in refusal.balances]))
        if not self._judge.is_looking:
            self._cooldowns.begin(refusal, self._planner.budgets)
        denial = denials.exceeded(call, refusal, self._planner.budgets)
        return Decision(note=note_of(bound, "deny", rule_ids), denial=denial)

    def _fit(self, refusal: Refusal, call: Call, hold: Hold, bound: Bound) -> Decision:
        """Change a call so that it fits, if the rules allow that; else refuse it."""
        fitter = self._fitter(refusal, call)
        steps = fitter.steps()
        try:
            step = next(steps)
            while True:
                step = steps.send(self._authority.hold(step))
        except StopIteration as done:
            return self._fitted(done.value, fitter, call, bound)
        except LedgerError as error:
            return self._unavailable(call, hold, bound, error)

    async def _fit_async(self, refusal: Refusal, call: Call, hold: Hold, bound: Bound) -> Decision:
        """Do as `_fit` does, without blocking."""
        fitter = self._fitter(refusal, call)
        steps = fitter.steps()
        try:
            step = next(steps)
            while True:
                answer = self._authority.hold_now(step)
                if isinstance(answer, Busy):
                    answer = await self._hold_soon(step)
                step = steps.send(answer)
        except StopIteration as done:
            return self._fitted(done.value, fitter, call, bound)
        except LedgerError as error:
            return self._unavailable(call, hold, bound, error)

    def _fitter(self, refusal: Refusal, call: Call) -> Fitter:
        clamps_all = self._injects and call.request.max_output_tokens is None
        return Fitter(
            call,
            refusal,
            self._planner.budgets,
            self._prepare_form,
            self._most_output,
            clamps_all=clamps_all,
        )

    def _fitted(self, fitted: Fitted | None, fitter: Fitter, call: Call, bound: Bound) -> Decision:
        """Decide on a call that was changed to fit; refuse it where nothing helped."""
        if fitted is None:
            return self._refuse(fitter.refusal, call, bound)
        denial = denials.exceeded(call, fitter.first, self._planner.budgets)
        change = Change(asked=call.request, request=fitted.request, denial=denial)
        action: DecisionAction = (
            "clamp" if fitted.request.model == call.request.model else "reroute"
        )
        note = note_of(fitted.bound, action, fitted.rule_ids)
        return change.apply(Decision(note=note, hold=fitted.hold))
