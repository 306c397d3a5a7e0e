"""Says why a call is refused: the exceptions that a caller gets, with what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from tollspan.usage import (
    BLOCK_PERIOD,
    TOOL_PROVIDER,
    Bound,
    BudgetExceededError,
    Call,
    CallDeniedError,
    GateUnavailableError,
    Recovery,
    Request,
    SessionLimitExceededError,
    TagBudgetExceededError,
    TollspanError,
    UnboundedCallError,
    UnpricedModelError,
    VelocityExceededError,
    format_amount,
    is_tag,
)

from .allowances import Allowance
from .finishing import percent
from .plans import read_scope
from .ports import OnUnavailable
from .rolling import read_rolling
from .rules import Budget
from .values import Account, Balance, Refusal
from .windows import end_of


def is_unpriced(bound: Bound) -> bool:
    """Say whether the model, or a unit that the call may use, has no price."""
    return any(why == "unpriced" or why.startswith("unpriced:") for why in bound.reasons)


def no_bound(call: Call, bound: Bound) -> CallDeniedError:
    """Deny a call that nothing bounds, or that has no price."""
    model = call.request.model
    is_limited = not any(why.startswith("no_limit:") for why in bound.reasons)
    if is_unpriced(bound) and is_limited:
        what = [why.partition(":")[2] for why in bound.reasons if why.startswith("unpriced:")]
        of = f" for {', '.join(what)}" if what else ""
        return UnpricedModelError(
            f"{model!r} has no price{of}, and on_unpriced is deny: add a price or allow it",
            call_id=call.id,
        )
    why = ", ".join(bound.reasons) or "no max output given"
    return UnboundedCallError(
        f"nothing bounds the cost of this call to {model!r} ({why}): "
        f"{_way_out(call.request, bound)}",
        call_id=call.id,
    )


def _way_out(request: Request, bound: Bound) -> str:
    """Say what would bound a call."""
    if any(why.startswith("no_limit:") for why in bound.reasons):
        if request.provider == TOOL_PROVIDER:
            return "give @tool its max_units, or the unit a reserve in prices.yaml"
        return "limit the provider's tools in the request, or give them a reserve in prices.yaml"
    if request.max_output_tokens is None:
        return "give it a maximum of output tokens"
    return 'declare a reserve: extra_body={"tollspan": {"input_reserve_tokens": …}}'


def unavailable(
    call: Call,
    rule_id: str,
    bound: Bound,
    error: TollspanError,
    rule: OnUnavailable | Allowance = "deny",
) -> CallDeniedError:
    """Deny a call whose authority gives no answer."""
    why = (
        "and this process has too little of what on_unavailable lets through"
        if isinstance(rule, Allowance)
        else f"and on_unavailable is {rule}"
    )
    return GateUnavailableError(
        f"the budgets can't be read ({error}), {why}",
        rule_id=rule_id,
        asked=bound.amount_nanousd,
        recovery=Recovery(retryable=True, retry_after_seconds=1.0),
        call_id=call.id,
    )


def unreadable(call: Call, problem: TollspanError) -> CallDeniedError:
    """Deny a call because there are no rules to judge it by."""
    return GateUnavailableError(f"calls can't be judged: {problem}", call_id=call.id)


def exceeded(call: Call, refusal: Refusal, budgets: Mapping[str, Budget]) -> CallDeniedError:
    """Deny a call that does not fit a budget: the first of those that have no room for it."""
    balance, asked = _first(refusal)
    account = balance.account
    budget = _budget_of(account, budgets)
    unit = account.unit
    held = balance.held + balance.unresolved
    scope = read_scope(account.scope)
    resets_at = _resets_at(call, account, budgets)
    whose = f" of {', '.join(f'{key} {value!r}' for key, value in scope)}" if scope else ""
    text = (
        f"budget {account.budget_id!r}{whose} has {format_amount(account.limit, unit)}: "
        f"{format_amount(balance.posted, unit)} spent, {format_amount(held, unit)} held; "
        f"this call may {'cost' if unit == 'usd' else 'use'} up to {format_amount(asked, unit)}"
    )
    if budget is not None and budget.finish_reserve and not call.attribution.finishing:
        text += f"; {percent(budget.finish_reserve)} of the budget are kept for finishing"
    if refusal.source == "ingest_flag":
        text += "; so says the ingest API"
    message = budget.message if budget else None
    return _class_of(budget)(
        f"{message} ({text})" if message else text,
        rule_id=account.budget_id,
        scope=scope,
        unit=unit,
        limit=account.limit,
        spent=balance.posted,
        held=held,
        asked=asked,
        period=account.period,
        resets_at=resets_at,
        message=message,
        upgrade_url=budget.upgrade_url if budget else None,
        source=refusal.source,
        recovery=_recovery(call, refusal, budgets),
        call_id=call.id,
    )


def _first(refusal: Refusal) -> tuple[Balance, int]:
    """Return the first account that is short, and what was asked of it.

    Of a rolling window it is the one that is short for longest: until then there is no room.
    """
    pairs = list(zip(refusal.balances, refusal.asked, strict=True))
    first = pairs[0]
    if read_rolling(first[0].account.period) is None:
        return first
    alike = [pair for pair in pairs if _part(pair[0].account) == _part(first[0].account)]
    return max(alike, key=lambda pair: pair[0].account.period)


def _part(account: Account) -> tuple[str, str, bool]:
    is_rolling = read_rolling(account.period) is not None
    return account.budget_id, account.scope, is_rolling


def _budget_of(account: Account, budgets: Mapping[str, Budget]) -> Budget | None:
    """Return the document's budget of an account; None of a block's, whatever its id."""
    return None if account.period == BLOCK_PERIOD else budgets.get(account.budget_id)


def cooling(call: Call, account: Account, wait_seconds: float, budget: Budget) -> CallDeniedError:
    """Deny a call whose owner was too fast, and has not cooled down yet."""
    scope = read_scope(account.scope)
    whose = f" of {', '.join(f'{key} {value!r}' for key, value in scope)}" if scope else ""
    text = (
        f"budget {account.budget_id!r}{whose} had no room for a call, and cools down for "
        f"{wait_seconds:.0f} s more"
    )
    return VelocityExceededError(
        f"{budget.message} ({text})" if budget.message else text,
        rule_id=account.budget_id,
        scope=scope,
        unit=account.unit,
        limit=account.limit,
        resets_at=datetime.fromtimestamp(call.started_at_unix_ns / 1e9 + wait_seconds, UTC),
        message=budget.message,
        upgrade_url=budget.upgrade_url,
        recovery=Recovery(
            retryable=True, retry_after_seconds=wait_seconds, owner_action_required=False
        ),
        call_id=call.id,
    )


def _class_of(budget: Budget | None) -> type[BudgetExceededError]:
    if budget is None:
        return BudgetExceededError
    if budget.cooldown_seconds is not None:
        return VelocityExceededError
    if "session" in budget.per:
        return SessionLimitExceededError
    keys = (*budget.per, *(condition.key for condition in budget.where))
    if any(is_tag(key) for key in keys):
        return TagBudgetExceededError
    return BudgetExceededError


def _resets_at(call: Call, account: Account, budgets: Mapping[str, Budget]) -> datetime | None:
    budget = _budget_of(account, budgets)
    if budget is None:
        return None
    return end_of(budget.window, account.period, call.started_at_unix_ns)


def _recovery(call: Call, refusal: Refusal, budgets: Mapping[str, Budget]) -> Recovery:
    """Say what can be done: wait for the windows' ends, or for what is held to come back.

    All accounts count that have no room. Where one could not take the call even if nothing were
    spent, there is nothing to wait for.
    """
    pairs = list(zip(refusal.balances, refusal.asked, strict=True))
    waits = [_wait_seconds(call, balance.account, budgets) for balance, _ in pairs]
    is_never = any(max(asked, 1) > balance.account.limit for balance, asked in pairs)
    may_come_back = all(
        wait is not None or balance.posted + balance.unresolved + asked <= balance.account.limit
        for wait, (balance, asked) in zip(waits, pairs, strict=True)
    )
    ends = [wait for wait in waits if wait is not None]
    is_ending = len(ends) == len(waits)
    return Recovery(
        retryable=may_come_back and not is_never,
        retry_after_seconds=max(ends) if is_ending and not is_never else None,
        owner_action_required=is_never or not is_ending,
    )


def _wait_seconds(call: Call, account: Account, budgets: Mapping[str, Budget]) -> float | None:
    """Return how long the account's window lasts from now on; None for ever."""
    resets_at = _resets_at(call, account, budgets)
    if resets_at is None:
        return None
    window = resets_at.timestamp() - call.started_at_unix_ns / 1e9
    return max(0.0, window, budgets[account.budget_id].cooldown_seconds or 0.0)
