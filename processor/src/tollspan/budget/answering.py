"""Decides on calls that their authority refuses, or can't answer for."""

from __future__ import annotations

from collections.abc import Callable

from tollspan.usage import Bound, Call, CallDeniedError, DecisionAction, LedgerError, Mode

from . import denials
from .cooldowns import Cooldowns
from .fitting import Fitted, Fitter
from .noting import never_held, note_of
from .plans import NOWHEN, Plan, Planner
from .rules import RuleSet
from .values import Change, Decision, Hold, Refusal


class Answers:
    """What becomes of calls that have no room, by one set of rules. Safe for threads.

    Args:
        rules: The rules.
        planner: Plans calls by them.
        mode: As the gate's.
        cooldowns: Who is refused has to wait, where the rules say so; None where nobody is refused
            in earnest.
        allow: Holds in allowances what the authority could not hold; None where they have too
            little.

    Attributes:
        budgets: The budgets in force, by id.
    """

    def __init__(
        self,
        rules: RuleSet,
        planner: Planner,
        mode: Mode,
        cooldowns: Cooldowns | None,
        allow: Callable[[Hold], Hold | None],
    ) -> None:
        self._rules = rules
        self._mode: Mode = mode
        self._cooldowns = cooldowns
        self._allow = allow
        self.budgets = planner.budgets

    def denied(
        self,
        call: Call,
        denial: CallDeniedError,
        bound: Bound = Bound(amount_nanousd=None),  # noqa: B008 - frozen
        plan: Plan = NOWHEN,
        *,
        is_unavailable: bool = False,
        is_final: bool = False,
    ) -> Decision:
        """Deny a call before its authority is asked; where no budget refuses, let it through.

        Then nothing is held for it, and what it costs is posted to its accounts all the same.

        Args:
            call: The call.
            denial: What it is told.
            bound: The most that it can cost.
            plan: Its accounts.
            is_unavailable: Nobody can be asked.
            is_final: No rules let it through, whatever the plan says.
        """
        may_refuse = plan.hard_units or not plan.accounts or is_final or plan.needs_prices
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

    def unavailable(self, call: Call, hold: Hold, bound: Bound, error: LedgerError) -> Decision:
        """Decide on a call for which the authority can't be asked, by `on_unavailable`."""
        rule_ids = tuple(dict.fromkeys([account.budget_id for account, _ in hold.legs]))
        hard_ids = [account.budget_id for account, _ in hold.legs if not account.is_soft]
        rule = self._rules.on_unavailable
        if hard_ids and rule != "allow":
            allowed = None if rule == "deny" else self._allow(hold)
            if allowed is None:
                denial = denials.unavailable(call, hard_ids[0], bound, error, rule)
                note = note_of(bound, "deny", rule_ids, is_unavailable=True)
                return Decision(note=note, denial=denial)
            hold = allowed
        is_allowed = bool(hard_ids) or rule == "allow"
        action = "allow" if is_allowed else self._soft_action(rule_ids)
        note = note_of(bound, action, rule_ids, is_unavailable=True, mode=self._mode)
        return Decision(note=note, hold=hold)

    def short(self, refusal: Refusal, call: Call, hold: Hold, bound: Bound) -> Decision:
        """Decide on a call that some account has no room for."""
        rule_ids = tuple(dict.fromkeys([one.account.budget_id for one in refusal.balances]))
        if refusal.is_held:
            action = self._soft_action(rule_ids)
            return Decision(note=note_of(bound, action, rule_ids, mode=self._mode), hold=hold)
        return self.refuse(refusal, call, bound)

    def refuse(self, refusal: Refusal, call: Call, bound: Bound) -> Decision:
        """Deny a call for which there is no room; its owner may have to wait for the next."""
        rule_ids = tuple(dict.fromkeys([one.account.budget_id for one in refusal.balances]))
        if self._cooldowns is not None:
            self._cooldowns.begin(refusal, self.budgets)
        denial = denials.exceeded(call, refusal, self.budgets)
        return Decision(note=note_of(bound, "deny", rule_ids), denial=denial)

    def fitted(self, fitted: Fitted | None, fitter: Fitter, call: Call, bound: Bound) -> Decision:
        """Decide on a call that was changed to fit; refuse it where nothing helped."""
        if fitted is None:
            return self.refuse(fitter.refusal, call, bound)
        denial = denials.exceeded(call, fitter.first, self.budgets)
        change = Change(asked=call.request, request=fitted.request, denial=denial)
        action: DecisionAction = (
            "clamp" if fitted.request.model == call.request.model else "reroute"
        )
        note = note_of(fitted.bound, action, fitted.rule_ids)
        return change.apply(Decision(note=note, hold=fitted.hold))

    def _soft_action(self, rule_ids: tuple[str, ...]) -> DecisionAction:
        """Say what a call is that goes through although these rules have no room for it."""
        if self._mode != "enforce":
            return "shadow" if self._mode == "observe" else "allow"
        budgets = self.budgets
        found = [budgets[rule_id] for rule_id in rule_ids if rule_id in budgets]
        return "warn" if any(one.on_exceed == "warn" for one in found) else "shadow"
