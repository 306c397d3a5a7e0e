"""The gate: bounds a call, finds its accounts, and holds the money before the call is made."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import Protocol

import msgspec

from tollspan.usage import (
    TOOL_PROVIDER,
    Bound,
    BudgetExceededError,
    Call,
    CallDeniedError,
    DecisionNote,
    GateUnavailableError,
    LedgerError,
    LedgerUnavailableError,
    Recovery,
    Request,
    TollspanError,
    UnboundedCallError,
    UnpricedModelError,
    usd,
)

from .ports import Authority, Busy, is_asyncio
from .rules import Budget, RuleSet
from .values import Account, Balance, Decision, Hold, Refusal
from .windows import FOREVER_UNIX_NS, ends_at, period

_ALLOWED_UNTOUCHED = Decision(note=DecisionNote())


class Bounds(Protocol):
    """The part of a price book that the gate needs."""

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        """Return the most that a request can cost; `ceiling` assumes the dearest for no price."""
        ...


class _Period(msgspec.Struct, frozen=True):
    """The accounts that calls touch while the rules and every window stay the same."""

    rules: RuleSet
    accounts: tuple[Account, ...]
    rule_ids: tuple[str, ...]
    since_unix_ns: int
    until_unix_ns: int


class BudgetGate:
    """Decides on calls by the rules in force and one authority.

    Safe for threads and tasks. The accounts of a period are worked out once and kept until the
    first of them ends.

    Args:
        rules: The rules in force at first.
        bounds: What calls can cost at most.
        authority: Who holds the money.
        acquire_timeout_seconds: Longest wait of a task for the authority, before
            `on_unavailable` decides; threads wait as long as the authority itself lets them.
    """

    def __init__(
        self,
        rules: RuleSet,
        bounds: Bounds,
        authority: Authority,
        *,
        acquire_timeout_seconds: float = 0.25,
    ) -> None:
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self._period = _Period(RuleSet(), (), (), 1, 0)
        self._bounds = bounds
        self._authority = authority
        self.use(rules)

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def use(self, rules: RuleSet) -> None:
        """Put other rules in force for the calls to come."""
        self._rules = rules
        self._refusing: TollspanError | None = None

    def refuse_all(self, problem: TollspanError) -> None:
        """Deny every call until there are rules to `use`: those that there are can't be read."""
        self._refusing = problem

    def authorize(self, call: Call) -> Decision:
        """Decide on a call, waiting a bounded time for the authority."""
        ready = self._prepare(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound = ready
        try:
            refusal = self._authority.hold(hold)
        except LedgerError as error:
            return self._unavailable(hold, bound, error)
        if refusal is None:
            return self._allowed(hold, bound)
        return self._refused(refusal, call, bound)

    async def authorize_async(self, call: Call) -> Decision:
        """Decide on a call; what would have to wait is done in another thread and awaited."""
        ready = self._prepare(call)
        if isinstance(ready, Decision):
            return ready
        hold, bound = ready
        try:
            refusal = self._authority.hold_now(hold)
            if isinstance(refusal, Busy):
                refusal = await self._hold_soon(hold)
        except LedgerError as error:
            return self._unavailable(hold, bound, error)
        if refusal is None:
            return self._allowed(hold, bound)
        return self._refused(refusal, call, bound)

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

    def spent(self, call: Call) -> Decision:
        """Name the accounts of what was used without asking: it is posted, over the limit too."""
        current = self._open_period(self._rules, call.started_at_unix_ns)
        if not current.accounts:
            return _ALLOWED_UNTOUCHED
        legs = tuple([(account, 0) for account in current.accounts])
        return Decision(
            note=DecisionNote(rule_ids=current.rule_ids, bound_nanousd=0),
            hold=Hold(call_id=call.id, started_at_unix_ns=call.started_at_unix_ns, legs=legs),
        )

    def abandon(self, call_id: str) -> None:
        """Give back what a call holds that was never made."""
        self._authority.release_soon(call_id)

    def _prepare(self, call: Call) -> Decision | tuple[Hold, Bound]:
        """Bound the call and name its accounts, or decide at once."""
        if self._refusing is not None:
            return _unreadable(self._refusing)
        at_unix_ns = call.started_at_unix_ns
        current = self._period
        if (
            current.rules is not self._rules
            or not current.since_unix_ns <= at_unix_ns < current.until_unix_ns
        ):
            current = self._open_period(self._rules, at_unix_ns)
        if not current.accounts:
            return _ALLOWED_UNTOUCHED
        request = call.request
        on_unpriced = self._rules.on_unpriced
        if on_unpriced is None:
            on_unpriced = "allow" if request.is_assumed else "ceiling"
        bound = self._bounds.bound(request, at_unix_ns, ceiling=on_unpriced == "ceiling")
        amount = bound.amount_nanousd
        if amount is None:
            if "unpriced" not in bound.reasons or on_unpriced == "deny":
                return self._no_bound(call, bound)
            amount = 0
        elif bound.reasons and self._refuses(request, bound):
            return self._no_bound(call, bound)
        legs = tuple(zip(current.accounts, repeat(amount)))
        return Hold(call_id=call.id, started_at_unix_ns=at_unix_ns, legs=legs), bound

    def _refuses(self, request: Request, bound: Bound) -> bool:
        """Say whether the rules refuse what only assumptions or the model's own limits bound."""
        rules = self._rules
        if rules.on_unbounded == "deny" and request.max_output_tokens is None:
            return True
        if rules.on_unbounded_input == "deny" and request.unbounded:
            return request.input_reserve_tokens is None
        return rules.on_unpriced == "deny" and _is_unpriced(bound)

    def _open_period(self, rules: RuleSet, at_unix_ns: int) -> _Period:
        """Name the accounts of every budget at a moment, and keep them while they last."""
        accounts: list[Account] = []
        since, until = at_unix_ns, FOREVER_UNIX_NS
        for budget in rules.budgets:
            key, end = period(budget.window, at_unix_ns)
            until = min(until, end)
            accounts.append(
                Account(
                    budget_id=budget.id, scope="", period=key, limit_nanousd=budget.limit_nanousd
                )
            )
        rule_ids = tuple(account.budget_id for account in accounts)
        current = self._period = _Period(rules, tuple(accounts), rule_ids, since, until)
        return current

    def _allowed(self, hold: Hold, bound: Bound) -> Decision:
        current = self._period
        return Decision(
            note=DecisionNote(
                rule_ids=current.rule_ids
                if len(current.rule_ids) == len(hold.legs)
                else tuple([account.budget_id for account, _ in hold.legs]),
                bound_nanousd=bound.amount_nanousd,
                bound_reasons=bound.reasons,
            ),
            hold=hold,
        )

    def _no_bound(self, call: Call, bound: Bound) -> Decision:
        model = call.request.model
        denial: CallDeniedError
        is_limited = not any(why.startswith("no_limit:") for why in bound.reasons)
        if _is_unpriced(bound) and is_limited:
            what = [why.partition(":")[2] for why in bound.reasons if why.startswith("unpriced:")]
            of = f" for {', '.join(what)}" if what else ""
            denial = UnpricedModelError(
                f"{model!r} has no price{of}, and on_unpriced is deny: add a price or allow it",
            )
        else:
            why = ", ".join(bound.reasons) or "no max output given"
            denial = UnboundedCallError(
                f"nothing bounds the cost of this call to {model!r} ({why}): "
                f"{_way_out(call.request, bound)}"
            )
        return Decision(note=_note(bound, action_deny=True), denial=denial)

    def _unavailable(self, hold: Hold, bound: Bound, error: LedgerError) -> Decision:
        rule_ids = tuple([account.budget_id for account, _ in hold.legs])
        deny = self._rules.on_unavailable == "deny"
        note = DecisionNote(
            action="deny" if deny else "allow",
            rule_ids=rule_ids,
            bound_nanousd=bound.amount_nanousd,
            bound_reasons=bound.reasons,
            is_unavailable=True,
        )
        if not deny:
            return Decision(note=note, hold=hold)
        denial = GateUnavailableError(
            f"the budgets can't be read ({error}), and on_unavailable is deny",
            rule_id=rule_ids[0],
            asked_nanousd=bound.amount_nanousd,
            recovery=Recovery(retryable=True, retry_after_seconds=1.0),
        )
        return Decision(note=note, denial=denial)

    def _refused(self, refusal: Refusal, call: Call, bound: Bound) -> Decision:
        rules = {budget.id: budget for budget in self._rules.budgets}
        first = refusal.balances[0]
        budget = rules.get(first.account.budget_id)
        note = _note(
            bound,
            action_deny=True,
            rule_ids=tuple(balance.account.budget_id for balance in refusal.balances),
        )
        return Decision(note=note, denial=_exceeded(first, budget, refusal, call))


def _is_unpriced(bound: Bound) -> bool:
    """Say whether the model, or a unit that the call may use, has no price."""
    return any(why == "unpriced" or why.startswith("unpriced:") for why in bound.reasons)


def _way_out(request: Request, bound: Bound) -> str:
    """Say what would bound a call."""
    if any(why.startswith("no_limit:") for why in bound.reasons):
        if request.provider == TOOL_PROVIDER:
            return "give @tool its max_units, or the unit a reserve in prices.yaml"
        return "limit the provider's tools in the request, or give them a reserve in prices.yaml"
    if request.max_output_tokens is None:
        return "give it a maximum of output tokens"
    return 'declare a reserve: extra_body={"tollspan": {"input_reserve_tokens": …}}'


def _unreadable(problem: TollspanError) -> Decision:
    return Decision(
        note=DecisionNote(action="deny", is_unavailable=True),
        denial=GateUnavailableError(f"calls can't be judged: {problem}"),
    )


def _note(bound: Bound, *, action_deny: bool, rule_ids: tuple[str, ...] = ()) -> DecisionNote:
    return DecisionNote(
        action="deny" if action_deny else "allow",
        rule_ids=rule_ids,
        bound_nanousd=bound.amount_nanousd,
        bound_reasons=bound.reasons,
    )


def _exceeded(
    balance: Balance, budget: Budget | None, refusal: Refusal, call: Call
) -> BudgetExceededError:
    account = balance.account
    held = balance.held_nanousd + balance.unresolved_nanousd
    resets_at = ends_at(budget.window, call.started_at_unix_ns) if budget else None
    text = (
        f"budget {account.budget_id!r} has {usd(account.limit_nanousd)}: "
        f"{usd(balance.posted_nanousd)} spent, {usd(held)} held; "
        f"this call may cost up to {usd(refusal.asked_nanousd)}"
    )
    message = budget.message if budget else None
    retry_after = (
        max(0.0, resets_at.timestamp() - call.started_at_unix_ns / 1e9) if resets_at else None
    )
    return BudgetExceededError(
        f"{message} ({text})" if message else text,
        rule_id=account.budget_id,
        limit_nanousd=account.limit_nanousd,
        spent_nanousd=balance.posted_nanousd,
        held_nanousd=held,
        asked_nanousd=refusal.asked_nanousd,
        resets_at=resets_at,
        message=message,
        upgrade_url=budget.upgrade_url if budget else None,
        recovery=Recovery(
            retryable=resets_at is not None or balance.held_nanousd > 0,
            retry_after_seconds=retry_after,
            owner_action_required=resets_at is None,
        ),
    )
