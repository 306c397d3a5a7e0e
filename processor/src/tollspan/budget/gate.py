"""The gate: bounds a call, finds its accounts, and holds the money before the call is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from copy import copy
from itertools import repeat

from tollspan.usage import (
    Bound,
    Call,
    LedgerError,
    LedgerUnavailableError,
    Mode,
    Request,
    TollspanError,
)

from . import denials
from .answering import Answers
from .bounds import Bounds
from .cooldowns import Cooldowns
from .fitting import Fitter
from .flagged import FlaggedAuthority, Flags
from .idle import Place, Touch
from .idle_periods import IdlePeriods, PeriodUnknownError
from .judging import Judge
from .looked_periods import LookedPeriods, Periods
from .looking import Looking
from .no_authority import NoAuthority
from .noting import never_held, note_of
from .plans import InjectingPlan, ObservedPlan, Plan, Planner
from .policing import PolicyIndex
from .ports import Allowing, Authority, Busy, is_asyncio
from .preparing import ALLOWED_UNTOUCHED, Preparer, Ready
from .rules import Budget, RuleSet
from .summing import SummedBounds
from .typical import TypicalBounds
from .values import Account, Balance, Decision, Hold, Refusal


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
        self._flags: Flags = {}
        self._holder = self._authority = authority
        self._allowing: Allowing | None = None
        self._has_room: Callable[[Hold], bool] | None = None
        self.typical = TypicalBounds(bounds)
        self._mode: Mode = mode
        self._is_off = mode == "off"
        self._heeds_blocks = False
        self._own_periods = IdlePeriods(self._touch, clock=clock, asks_first=mode != "off")
        self._periods: Periods = self._own_periods
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
        self._go_by(planner)
        if self._heeds_blocks and not planner.heeds_blocks:  # another thread said so meanwhile
            self._go_by(self._new_planner(rules))
        self._has_no_rules = False
        self._refusing = no_prices
        self.typical.is_wanted = any(one.bound == "typical" for one in rules.budgets)

    def ask(
        self,
        authority: Authority,
        allowing: Allowing | None = None,
        has_room: Callable[[Hold], bool] | None = None,
    ) -> None:
        """Have another authority hold the money of the calls to come.

        Args:
            authority: The authority.
            allowing: Holds in allowances what it can't hold; None where there are none.
            has_room: Says of a hold whether this process can make it without asking anybody; None
                where it never can.
        """
        self._holder = authority
        self._allowing = allowing
        self._has_room = has_room
        self._hold_by_flags()

    def flag(self, flags: Flags) -> None:
        """Refuse what touches these accounts from now on, and no longer what others were named.

        Without any, calls pay nothing for that.
        """
        self._flags = flags
        self._hold_by_flags()

    def _hold_by_flags(self) -> None:
        """Put the flags before whoever holds the money; two threads may say either at a time."""
        while True:
            holder, flags = self._holder, self._flags
            self._authority = self._flagged(holder)
            if holder is self._holder and flags is self._flags:
                return

    def _flagged(self, authority: Authority) -> Authority:
        return FlaggedAuthority(authority, self._flags) if self._flags else authority

    def _allow(self, hold: Hold) -> Hold | None:
        """Hold in allowances what the authority could not hold; None where that can't be."""
        allowing = self._allowing
        if allowing is None:
            return None
        return allowing.take(hold, is_looking=self._judge.is_looking)

    def heed_blocks(self) -> None:
        """Look from here on at the budgets of blocks too; who opens none does not pay for that."""
        self._heeds_blocks = True
        while not self._planner.heeds_blocks:
            self._go_by(self._new_planner(self._rules))

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

    def _go_by(self, planner: Planner) -> None:
        """Have calls planned, and decided on, by the rules that were put in force."""
        cooldowns = None if self._judge.is_looking else self._cooldowns
        self._answers = Answers(self._rules, planner, self._mode, cooldowns, self._allow)
        self._preparer = Preparer(
            self._rules,
            planner,
            bounds=self._bounds,
            typical=self.typical,
            judge=self._judge,
            cooldowns=self._cooldowns,
            answers=self._answers,
            periods=self._periods,
            mode=self._mode,
        )
        self._refuses = self._preparer.refuses
        self._planner = planner

    def refuse_all(self, problem: TollspanError) -> None:
        """Deny every call until there are rules to `use`: those that there are can't be read."""
        self._has_no_rules = True
        self._refusing = problem

    def authorize(self, call: Call) -> Decision:
        """Decide on a call, waiting a bounded time for the authority."""
        try:
            ready = self._prepare(call)
        except PeriodUnknownError as unknown:
            problem = self._periods.learn(unknown)
            return self._knowing(unknown.places, problem).authorize(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound, plan = ready
        try:
            refusal = self._authority.hold(hold)
        except LedgerError as error:
            return plan.join(self._answers.unavailable(call, hold, bound, error))
        if refusal is None:
            return plan.allow(hold, bound)
        if refusal.is_held or not plan.may_fit:
            return plan.join(self._answers.short(refusal, call, hold, bound))
        return plan.join(self._fit(refusal, call, hold, bound))

    async def authorize_async(self, call: Call) -> Decision:
        """Decide on a call; what would have to wait is done in another thread and awaited."""
        try:
            ready = self._prepare(call)
        except PeriodUnknownError as unknown:
            problem = await self._periods.learn_async(unknown, self._acquire_timeout_seconds)
            return await self._knowing(unknown.places, problem).authorize_async(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound, plan = ready
        try:
            refusal = self._authority.hold_now(hold)
            if isinstance(refusal, Busy):
                refusal = await self._hold_soon(hold)
        except LedgerError as error:
            return plan.join(self._answers.unavailable(call, hold, bound, error))
        if refusal is None:
            return plan.allow(hold, bound)
        if refusal.is_held or not plan.may_fit:
            return plan.join(self._answers.short(refusal, call, hold, bound))
        return plan.join(await self._fit_async(refusal, call, hold, bound))

    def _knowing(self, asked: Collection[Place], problem: LedgerError | None) -> BudgetGate:
        """Return a gate for one call, of whose periods the authority was asked.

        Args:
            asked: Whose.
            problem: Why it did not say; None when it did.
        """
        gate = copy(self)
        gate._preparer = self._preparer.knowing(asked)  # noqa: SLF001 - a copy of this
        if problem is not None:
            gate._authority = NoAuthority(problem)  # noqa: SLF001 - a copy of this
        return gate

    def _touch(self, touch: Touch) -> str:
        return self._authority.touch(touch)

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
        gate._periods = LookedPeriods(self._own_periods)  # noqa: SLF001 - a copy of this
        gate._go_by(self._planner)  # noqa: SLF001 - a copy of this
        looking = looking or Looking(self._authority.balances, self._has_room)
        gate._authority = self._flagged(looking)  # noqa: SLF001 - a copy of this
        return gate.authorize(call)

    def goes_on(self, call: Call) -> bool:
        """Say whether calls like it go on now that the authority can't be asked.

        From what this process has leased, by `on_unavailable`, or since no budget refuses them.
        """
        hard = [account for account in self.accounts(call) if not account.is_soft]
        rule = self._rules.on_unavailable
        if not hard or rule == "allow":
            return True
        least = Hold(
            call_id=call.id,
            started_at_unix_ns=call.started_at_unix_ns,
            legs=tuple([(account, 1) for account in hard]),
        )
        if self._has_room is not None and self._has_room(least):
            return True
        allowing = self._allowing
        return allowing is not None and allowing.take(least, is_looking=True) is not None

    def summed(self, requests: Sequence[Request]) -> BudgetGate:
        """Return a gate by the same rules for a call that stands for many requests."""
        gate = copy(self)
        gate._bounds = SummedBounds(self._bounds, requests)  # noqa: SLF001 - a copy of this
        gate.typical = TypicalBounds(gate._bounds)  # noqa: SLF001 - a copy of this
        gate._go_by(self._planner)  # noqa: SLF001 - a copy of this
        return gate

    def spent(self, call: Call, *, may_ask: bool = False) -> Decision:
        """Name the accounts of what was used without asking: it is posted, over the limit too.

        Args:
            call: The call.
            may_ask: It may wait for the authority, to know which periods of idle windows run.
        """
        plan = self._planner.every_call
        if not plan.since_unix_ns <= call.started_at_unix_ns < plan.until_unix_ns:
            plan = self._planner.plan(call)
        if plan.is_idle:
            plan = self._asked(call, plan) if may_ask else self._periods.assumed(call, plan)
        note = note_of(Bound(amount_nanousd=0), "allow", plan.rule_ids, mode=self._mode)
        return Decision(note=note, hold=never_held(call, plan))

    def _asked(self, call: Call, plan: Plan) -> Plan:
        """Name the periods of a plan; by what is known here where the authority can't be asked."""
        try:
            return self._periods.settled(call, plan)
        except PeriodUnknownError as unknown:
            self._periods.learn(unknown)
            return self._periods.settled(call, plan, unknown.places)

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
        gate = copy(self)
        gate._periods = LookedPeriods(self._own_periods)  # noqa: SLF001 - a copy of this
        named = gate.spent(call).hold
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
        self._periods.leave(call_id)
        self._authority.release_soon(call_id)

    @property
    def in_flight(self) -> int:
        """How many calls of this process are under way, of those that a policy counts."""
        return self._judge.in_flight

    def tick(self) -> None:
        """Do what is due about once a second; it waits for the authority, a bounded time."""
        self._own_periods.tick()

    def forget(self) -> None:
        """Begin anew in a forked child: the calls under way are the parent's."""
        self._judge.forget()
        self._cooldowns.forget()
        self._own_periods.forget()

    def close(self, wait_seconds: float) -> None:
        """End the threads that ask for calls."""
        self._own_periods.close(wait_seconds)

    def _prepare(self, call: Call) -> Decision | Ready:
        """Bound the call and name its accounts, or decide at once."""
        at_unix_ns = call.started_at_unix_ns
        planner = self._planner
        plan = planner.every_call
        if not plan.since_unix_ns <= at_unix_ns < plan.until_unix_ns:
            plan = planner.plan(call)
        if self._refusing is not None and (
            plan.accounts or self._has_no_rules or plan.needs_prices
        ):
            return self._unreadable(call, plan, self._refusing)
        if not plan.accounts and plan.is_plain:
            return ALLOWED_UNTOUCHED
        request = call.request
        on_unpriced = self._rules.on_unpriced
        if on_unpriced is None:
            on_unpriced = "allow" if request.is_assumed else "ceiling"
        bound = self._bounds.bound(request, at_unix_ns, ceiling=on_unpriced == "ceiling")
        amount = bound.amount_nanousd
        if not plan.is_plain:
            return self._preparer.further(call, plan, bound, on_unpriced)
        if amount is None:
            if "unpriced" not in bound.reasons or on_unpriced == "deny":
                return self._answers.denied(call, denials.no_bound(call, bound), bound, plan)
            amount = 0
        elif bound.reasons and self._refuses(request, bound):
            return self._answers.denied(call, denials.no_bound(call, bound), bound, plan)
        legs = tuple(zip(plan.accounts, repeat(amount)))
        hold = Hold(call_id=call.id, started_at_unix_ns=at_unix_ns, legs=legs)
        if self._is_off:
            return Decision(note=note_of(bound, "allow", plan.rule_ids, mode="off"), hold=hold)
        return hold, bound, plan

    def _unreadable(self, call: Call, plan: Plan, problem: TollspanError) -> Decision:
        """Decide on a call while the rules or the prices can't be read."""
        if plan.is_idle:
            plan = self._periods.assumed(call, plan)
        denial = denials.unreadable(call, problem)
        return self._answers.denied(
            call, denial, plan=plan, is_unavailable=True, is_final=self._has_no_rules
        )

    def _fit(self, refusal: Refusal, call: Call, hold: Hold, bound: Bound) -> Decision:
        """Change a call so that it fits, if the rules allow that; else refuse it."""
        fitter = self._fitter(refusal, call)
        steps = fitter.steps()
        try:
            step = next(steps)
            while True:
                step = steps.send(self._authority.hold(step))
        except StopIteration as done:
            return self._answers.fitted(done.value, fitter, call, bound)
        except PeriodUnknownError as unknown:  # nothing is held: begin anew
            problem = self._periods.learn(unknown)
            return self._knowing(unknown.places, problem)._fit(refusal, call, hold, bound)  # noqa: SLF001
        except LedgerError as error:
            return self._answers.unavailable(call, hold, bound, error)

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
            return self._answers.fitted(done.value, fitter, call, bound)
        except PeriodUnknownError as unknown:  # nothing is held: begin anew
            problem = await self._periods.learn_async(unknown, self._acquire_timeout_seconds)
            gate = self._knowing(unknown.places, problem)
            return await gate._fit_async(refusal, call, hold, bound)  # noqa: SLF001 - a copy
        except LedgerError as error:
            return self._answers.unavailable(call, hold, bound, error)

    def _fitter(self, refusal: Refusal, call: Call) -> Fitter:
        clamps_all = self._preparer.injects and call.request.max_output_tokens is None
        return Fitter(
            call,
            refusal,
            self._answers.budgets,
            self._preparer.form,
            self._preparer.most_output,
            clamps_all=clamps_all,
        )
