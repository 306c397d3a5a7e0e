"""Finds the accounts of a call: which budgets count it, for whom, in which period."""

from __future__ import annotations

import fnmatch
import json
import re
import threading
from collections.abc import Callable
from operator import attrgetter

import msgspec

from tollspan.usage import TOOL_PROVIDER, Attribution, Call, Request, is_tag, value_of

from .rules import OWNERS, SUBJECTS, Budget, Condition, RuleSet
from .values import Account
from .windows import FOREVER_UNIX_NS, period

_MOST_PLANS = 4_096
_asked = attrgetter("provider", "operation", "model")
_Test = Callable[[Call], bool]


class Plan(msgspec.Struct, frozen=True):
    """The accounts of calls of one kind, for as long as every one of their periods lasts.

    Attributes:
        accounts: In the order of the document.
        rule_ids: The budgets, in the same order.
        is_money: All of them count USD.
        since_unix_ns, until_unix_ns: The plan holds from the one until just before the other.
    """

    accounts: tuple[Account, ...]
    rule_ids: tuple[str, ...]
    is_money: bool
    since_unix_ns: int
    until_unix_ns: int


NOWHEN = Plan(accounts=(), rule_ids=(), is_money=True, since_unix_ns=1, until_unix_ns=0)
"""A plan that never holds."""


class Planner:
    """Plans calls by one set of rules, and remembers the plans. Safe for threads.

    Args:
        rules: The rules.
        is_soft: No budget refuses anything: all only count and report.
    """

    def __init__(self, rules: RuleSet, *, is_soft: bool = False) -> None:
        self._is_soft = is_soft
        self._lock = threading.Lock()
        self._budgets = [(budget, _tests(budget.where)) for budget in rules.budgets]
        self._is_simple = not any(budget.per or budget.where for budget in rules.budgets)
        self._plans: dict[object, Plan] = {}
        self.every_call = NOWHEN
        """The plan that holds for every call; `NOWHEN` when calls differ."""

    def plan(self, call: Call) -> Plan:
        """Return the plan of a call."""
        key = None if self._is_simple else (call.attribution, _asked(call.request))
        at_unix_ns = call.started_at_unix_ns
        found = self._plans.get(key, NOWHEN)
        if found.since_unix_ns <= at_unix_ns < found.until_unix_ns:
            return found
        found = self._make(call, at_unix_ns)
        with self._lock:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = found
            if key is None:
                self.every_call = found
        return found

    def _make(self, call: Call, at_unix_ns: int) -> Plan:
        accounts: list[Account] = []
        until = FOREVER_UNIX_NS
        for budget, tests in self._budgets:
            if all(test(call) for test in tests):
                key, end = period(budget.window, at_unix_ns)
                until = min(until, end)
                accounts.append(
                    Account(
                        budget_id=budget.id,
                        scope=scope_of(budget, call.attribution),
                        period=key,
                        limit=budget.limit,
                        unit=budget.unit,
                        is_soft=self._is_soft or budget.on_exceed != "deny",
                    )
                )
        rule_ids = tuple([account.budget_id for account in accounts])
        is_money = all(account.unit == "usd" for account in accounts)
        return Plan(tuple(accounts), rule_ids, is_money, at_unix_ns, until)


def scope_of(budget: Budget, attribution: Attribution) -> str:
    """Name the part of a divided budget that somebody has, in canonical JSON; `""` undivided."""
    if not budget.per:
        return ""
    values = {key: value_of(attribution, key) for key in budget.per}
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_scope(scope: str) -> tuple[tuple[str, str | None], ...]:
    """Read a scope back into (dimension, value) pairs."""
    return tuple(json.loads(scope).items()) if scope else ()


def _tests(conditions: tuple[Condition, ...]) -> tuple[_Test, ...]:
    return tuple([_test(condition) for condition in conditions])


def _test(condition: Condition) -> _Test:
    """Return a function that says whether a call meets a condition."""
    key = condition.key
    is_subject = key in SUBJECTS
    flags = re.IGNORECASE if is_subject else 0
    pattern = re.compile("|".join(map(fnmatch.translate, condition.patterns)), flags)

    def is_met(call: Call) -> bool:
        value = _what(call.request, key) if is_subject else value_of(call.attribution, key)
        return value is not None and pattern.match(value) is not None

    return is_met


def _what(request: Request, key: str) -> str | None:
    """Return what a call is; a tool has no model, nor a model's call a tool."""
    is_tool = request.provider == TOOL_PROVIDER
    if key == "tool":
        return request.model if is_tool else None
    if key == "model":
        return None if is_tool else request.model
    if key == "provider":
        return request.provider
    return request.operation


def is_key(name: str, *, subjects: bool) -> bool:
    """Say whether `per` (or with `subjects`, `where`) may name this."""
    return is_tag(name) or name in OWNERS or (subjects and name in SUBJECTS)
