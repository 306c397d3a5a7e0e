"""Says what rules mean, a sentence for each."""

from __future__ import annotations

from collections import Counter

from tollspan.budget import (
    EVERYBODY_ELSE,
    IDLE,
    LETS_PASS,
    ROLLING,
    TRACE,
    Allowance,
    Budget,
    Condition,
    RuleSet,
    Window,
    allowance_words,
)
from tollspan.usage import TAG_PREFIX, format_amount, is_tag

from ._periods import length_words

_WINDOWS = {
    "lifetime": "in all, for good",
    "hour": "in each hour",
    "day": "on each day",
    "week": "in each week from Monday",
    "month": "in each calendar month",
    "quarter": "in each quarter of a year",
    "year": "in each calendar year",
    "trace": "in each trace",
}
_EXCEEDED = {
    "deny": "a call that may not fit is refused",
    "reroute": "a call that may not fit goes out with a cheaper model",
    "clamp": "a call that may not fit is let write less, and refused below {minimum} tokens",
    "warn": "a call that may not fit goes through, and somebody is warned",
    "shadow": "a call that may not fit goes through, and is only noted",
}


def sentence(budget: Budget) -> str:
    """Say what a budget allows, for whom, and what becomes of a call that does not fit."""
    parts = [_amount(budget), _calls(budget), _exceeded(budget)]
    if budget.bound == "typical":
        parts.append("a call holds what calls like it used, and may use more")
    if budget.finish_reserve:
        share = f"{(budget.finish_reserve * 100).normalize():f}"
        parts.append(f"{share} % of it kept for calls that finish")
    if budget.cooldown_seconds is not None and budget.on_exceed not in LETS_PASS:
        parts.append(f"its owner is then refused for {budget.cooldown_seconds} s")
    if budget.warn_at:
        shares = " and ".join(f"{(share * 100).normalize():f}" for share in budget.warn_at)
        parts.append(f"warned at {shares} %")
    plan = "" if budget.plan is None else f" (plan {budget.plan})"
    return f"{budget.id}{plan}: {'; '.join(parts)}."


def defaults_sentences(rules: RuleSet) -> tuple[str, ...]:
    """Say what happens where budgets can't decide, as far as it differs from the defaults."""
    found = _assigned(rules)
    if rules.on_unavailable == "allow":
        found.append("While the ledger can't answer, calls go through uncounted.")
    if isinstance(rules.on_unavailable, Allowance):
        found.append(
            "While the ledger can't answer, calls go on from slices that each process was granted"
            f" before, together {allowance_words(rules.on_unavailable)}."
        )
    if rules.on_unpriced == "allow":
        found.append("Models without a price are let through, and cost nothing in the budgets.")
    if rules.on_unpriced == "deny":
        found.append("Models without a price are refused.")
    if rules.on_unbounded == "inject":
        found.append("Calls without a limit on their output go out with the most that fits.")
    if rules.on_unbounded == "deny":
        found.append("Calls without a limit on their output are refused.")
    if rules.on_unbounded_input == "deny":
        found.append("Calls whose input has no bound are refused.")
    return tuple(found)


def _assigned(rules: RuleSet) -> list[str]:
    """Say how many customers have which plan, and what everybody else has."""
    plans = dict(rules.assign)
    others = plans.pop(EVERYBODY_ELSE, None)
    counts = Counter(one.plan for one in plans.values())
    found = [f"Customers that have the plan {plan}: {count}." for plan, count in counts.items()]
    if others is not None:
        found.append(f"Everybody else has the plan {others.plan}.")
    elif any(budget.plan for budget in rules.budgets):
        found.append("Everybody else has no plan.")
    return found


def _exceeded(budget: Budget) -> str:
    words = [_EXCEEDED[budget.on_exceed]]
    if budget.reroute:
        words[0] += f" ({', '.join(f'{asked} → {model}' for asked, model in budget.reroute)})"
        clamps = budget.clamp_minimum_tokens is not None
        words.append(
            _EXCEEDED["clamp" if clamps else "deny"].removeprefix("a call that may not fit ")
        )
    return ", else ".join(words).format(minimum=budget.clamp_minimum_tokens)


def _amount(budget: Budget) -> str:
    if budget.limit == 0 and not budget.limits:
        return "nothing"
    each = "".join(f" for each {dimension(key)}" for key in budget.per)
    own = "".join(
        f", {format_amount(one.limit, budget.unit)} for {_values(one.values)}"
        for one in budget.limits
    )
    limit = format_amount(budget.limit, budget.unit)
    return f"at most {limit}{each} {_window(budget.window)}{own}"


def _values(values: tuple[tuple[str, str], ...]) -> str:
    return " and ".join(f"{dimension(key)} {value}" for key, value in values)


def _window(window: Window) -> str:
    if window.every == ROLLING:
        return f"in any {length_words(window.seconds)}, whenever they begin"
    if window.every == IDLE:
        return f"until it was idle for {length_words(window.seconds)}"
    zone = "" if window.every in ("lifetime", TRACE) else f" ({window.timezone})"
    if window.anchor is None:
        return f"{_WINDOWS[window.every]}{zone}"
    days = f"{window.count} days" if window.count > 1 else window.every
    return f"in each {days}, of which one begins on {window.anchor}{zone}"


def _calls(budget: Budget) -> str:
    if not budget.where:
        return "over all calls"
    return f"over calls whose {' and whose '.join(map(_condition, budget.where))}"


def _condition(condition: Condition) -> str:
    return f"{dimension(condition.key)} is {values(condition)}"


def values(condition: Condition) -> str:
    """Say which values meet a condition."""
    parts = [" or ".join(condition.patterns)] if condition.patterns else []
    if condition.excluded:
        parts.append(f"not {' nor '.join(condition.excluded)}")
    return ", but ".join(parts)


def dimension(key: str) -> str:
    """Name a dimension as people say it."""
    return f"tag {key.removeprefix(TAG_PREFIX)}" if is_tag(key) else key
