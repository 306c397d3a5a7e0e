"""Finds the accounts of a call: which budgets count it, for whom, in which period."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import msgspec

from tollspan.usage import (
    BLOCK_PERIOD,
    TOOL_PROVIDER,
    Attribution,
    Bound,
    BudgetUnit,
    Call,
    ConfigError,
    DecisionNote,
    Request,
    is_tag,
    value_of,
)

from .assigning import Assignments, window_of
from .finishing import limit_for
from .limits import Limits
from .rules import CHANGES, LETS_PASS, OWNERS, SUBJECTS, Assignment, Budget, Condition, RuleSet
from .values import Account, Change, Decision, Hold
from .windows import FOREVER_UNIX_NS, IDLE, TRACE, Window, periods

if TYPE_CHECKING:
    from .policing import PolicyIndex, PolicyPlan

_MOST_PLANS = 4_096
_LONGEST_MODEL = 512
_GLOB = re.compile(r"[*?[]")
_Test = Callable[[Call], bool]
_NO_PERIODS: tuple[tuple[str, ...], int, int] = ((), 1, 0)
_Entry = tuple[int, Budget, tuple[_Test, ...], Limits]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of calls of one kind, for as long as every one of their periods lasts.

    Attributes:
        accounts: In the order of the document; several of a rolling window, newest first.
        rule_ids: The budgets, in the same order, each once.
        is_money: All of them count USD.
        is_plain: They need no more than the call's bound in each; what else a rule may ask of a
            call is on the gate's longer path.
        may_fit: A call that does not fit may be changed until it does.
        typical: The budgets that hold what is typical, by id.
        change: What one call goes out as, whatever there is room for; None: as it was asked for.
        policies: What policies say of such calls; None when they let them be.
        cooling: The accounts that refuse calls for a while once they have refused one.
        is_idle: Some account is of an idle window, and its period is to be named for each call.
        hard_units: What those of them count that refuse what does not fit.
        since_unix_ns, until_unix_ns: The plan holds from the one until just before the other.
    """

    accounts: tuple[Account, ...]
    rule_ids: tuple[str, ...]
    is_money: bool
    is_plain: bool
    hard_units: frozenset[BudgetUnit]
    since_unix_ns: int
    until_unix_ns: int
    may_fit: bool = False
    typical: frozenset[str] = frozenset()
    change: Change | None = None
    policies: PolicyPlan | None = None
    cooling: tuple[Account, ...] = ()
    is_idle: bool = False

    @property
    def needs_prices(self) -> bool:
        """Whether a policy refuses such calls by what they may cost."""
        return self.policies is not None and self.policies.needs_prices

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on a call for which every account has room."""
        return Decision(
            note=DecisionNote(
                rule_ids=self.rule_ids,
                bound_nanousd=bound.amount_nanousd,
                bound_reasons=bound.reasons,
            ),
            hold=hold,
        )

    def join(self, decision: Decision) -> Decision:
        """Return the decision on a call for which some account has no room: as it is."""
        return decision


class ObservedPlan(Plan, frozen=True, kw_only=True):
    """A plan of calls of which none is refused: `observe`."""

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on a call for which every account has room."""
        return Decision(
            note=DecisionNote(
                rule_ids=self.rule_ids,
                bound_nanousd=bound.amount_nanousd,
                bound_reasons=bound.reasons,
                mode="observe",
            ),
            hold=hold,
        )


class InjectingPlan(Plan, frozen=True, kw_only=True):
    """A plan of calls that may have a maximum of output sent for them."""

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on a call for which every account has room."""
        note = DecisionNote(
            rule_ids=self.rule_ids,
            bound_nanousd=bound.amount_nanousd,
            bound_reasons=bound.reasons,
        )
        return self.join(Decision(note=note, hold=hold))

    def join(self, decision: Decision) -> Decision:
        """Return a decision with what is sent, unless the call is refused or changed already."""
        if self.change is None or decision.denial is not None or decision.change is not None:
            return decision
        return self.change.apply(decision)


NOWHEN = Plan(
    accounts=(),
    rule_ids=(),
    is_money=True,
    is_plain=True,
    hard_units=frozenset(),
    since_unix_ns=1,
    until_unix_ns=0,
)
"""A plan that never holds."""


class Planner:
    """Plans calls by one set of rules, and remembers the plans. Safe for threads.

    Args:
        rules: The rules.
        is_soft: No budget refuses anything: all only count and report.
        heeds_blocks: Calls may be made in blocks that have budgets of their own.
        policies: The policies of the rules; None to plan budgets alone.
        kind: What plans are made.
    """

    def __init__(
        self,
        rules: RuleSet,
        *,
        is_soft: bool = False,
        heeds_blocks: bool = False,
        policies: PolicyIndex | None = None,
        kind: type[Plan] = Plan,
    ) -> None:
        self._kind_of_plan = kind
        self._is_soft = is_soft
        self.heeds_blocks = heeds_blocks
        self._typical = frozenset([one.id for one in rules.budgets if one.bound == "typical"])
        self._injects = rules.on_unbounded == "inject" and not is_soft
        self.budgets = {budget.id: budget for budget in rules.budgets}
        self._policies = policies
        self._kind = _kind_of(
            rules.budgets,
            frozenset() if policies is None else policies.keys,
            heeds_blocks=heeds_blocks,
        )
        self._goes_by_traces = rules.goes_by_traces
        self._plans: dict[object, Plan] = {}
        self._periods: dict[Window, tuple[tuple[str, ...], int, int]] = {}
        self._assigned = Assignments(rules)
        self._for_any: list[_Entry] = []
        self._for_plan: dict[str, list[_Entry]] = {}
        self._for_one: dict[str, dict[str | None, list[_Entry]]] = {}
        for number, budget in enumerate(rules.budgets):
            entry = (number, budget, _tests(budget.where), Limits(budget))
            named = next(filter(names_somebody, budget.where), None)
            if budget.plan is not None:
                self._for_plan.setdefault(budget.plan, []).append(entry)
            elif named is None:
                self._for_any.append(entry)
            else:
                values = self._for_one.setdefault(named.key, {})
                for value in set(named.patterns):
                    values.setdefault(value, []).append(entry)
        self.every_call = NOWHEN
        """The plan that holds for every call; `NOWHEN` when calls differ."""

    def plan(self, call: Call) -> Plan:
        """Return the plan of a call."""
        key = None if self._kind is None else self._kind(call)
        at_unix_ns = call.started_at_unix_ns
        found = self._plans.get(key, NOWHEN)
        if found.since_unix_ns <= at_unix_ns < found.until_unix_ns:
            return found
        found = self._make(call, at_unix_ns)
        # No lock: a child that is forked while another thread has it would wait for ever.
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        is_alone = self._goes_by_traces and call.attribution.trace is None
        if len(call.request.model) <= _LONGEST_MODEL and not is_alone:
            self._plans[key] = found
        if self._kind is None:
            self.every_call = found
        return found

    def _make(self, call: Call, at_unix_ns: int) -> Plan:
        accounts: list[Account] = []
        until = FOREVER_UNIX_NS
        may_fit = self._injects
        is_idle = False
        assignment = self._assigned.of(call.attribution.customer)
        for _, budget, tests, limits in self._near(call, assignment):
            if all(test(call) for test in tests):
                keys, end = self._periods_of(window_of(budget, assignment), at_unix_ns)
                if budget.window.every == TRACE:
                    keys = (call.attribution.trace or call.id,)
                is_idle = is_idle or budget.window.every == IDLE
                until = min(until, end)
                whose = _values(budget, call.attribution)
                may_fit = may_fit or budget.on_exceed in CHANGES
                limit = limit_for(budget, limits.of(whose), is_finishing=call.attribution.finishing)
                is_soft = self._is_soft or budget.on_exceed in LETS_PASS
                accounts += _accounts(budget, whose, keys, limit, is_soft=is_soft)
        accounts += self._of_blocks(call)
        rule_ids = tuple(dict.fromkeys([account.budget_id for account in accounts]))
        typical = self._typical.intersection(rule_ids)
        cooling = tuple({one.budget_id: one for one in accounts if self._cools(one)}.values())
        is_money = all(account.unit == "usd" for account in accounts)
        hard: set[BudgetUnit] = {account.unit for account in accounts if not account.is_soft}
        policies = None if self._policies is None else self._policies.plan(call)
        return self._kind_of_plan(
            accounts=tuple(accounts),
            rule_ids=rule_ids,
            is_money=is_money,
            is_plain=is_money
            and policies is None
            and not (cooling or typical or is_idle or (self._injects and accounts)),
            typical=typical,
            may_fit=may_fit and not self._is_soft,
            hard_units=frozenset(hard),
            since_unix_ns=at_unix_ns,
            until_unix_ns=until,
            policies=policies,
            cooling=cooling,
            is_idle=is_idle,
        )

    def _of_blocks(self, call: Call) -> list[Account]:
        """Return the accounts of the blocks that the call is made in, named by their ids."""
        return [
            Account(
                budget_id=one.id,
                scope="",
                period=BLOCK_PERIOD,
                limit=one.limit,
                unit=one.unit,
                is_soft=self._is_soft,
            )
            for one in call.attribution.budgets
        ]

    def _cools(self, account: Account) -> bool:
        if account.is_soft or account.period == BLOCK_PERIOD:
            return False
        return self.budgets[account.budget_id].cooldown_seconds is not None

    def _periods_of(self, window: Window, at_unix_ns: int) -> tuple[tuple[str, ...], int]:
        """Name periods as `periods` does; many customers' plans share a window."""
        keys, since, end = self._periods.get(window, _NO_PERIODS)
        if not since <= at_unix_ns < end:
            since = at_unix_ns
            keys, end = periods(window, at_unix_ns)
            if len(self._periods) >= _MOST_PLANS:
                self._periods.clear()
            self._periods[window] = (keys, since, end)
        return keys, end

    def _near(self, call: Call, assignment: Assignment | None) -> Iterable[_Entry]:
        """Return the budgets that may count a call, in the document's order, without the most."""
        near = [
            entry
            for key, values in self._for_one.items()
            for entry in values.get(value_of(call.attribution, key), ())
        ]
        if assignment is not None:
            near += self._for_plan.get(assignment.plan, ())
        return sorted((*self._for_any, *near), key=itemgetter(0)) if near else self._for_any


def accounts_of(
    rules: RuleSet,
    budget_id: str,
    owner: Attribution,
    at_unix_ns: int,
    *,
    key: str | None = None,
) -> tuple[Account, ...]:
    """Name the account that a budget has for somebody at a time; several of a rolling window.

    Of an idle window, the authority knows which one that is: its period is unnamed.

    Args:
        rules: The rules.
        budget_id: The budget.
        owner: Whose account.
        at_unix_ns: The moment, nanoseconds since the epoch.
        key: That of another period than the moment's; None for that.

    Raises:
        ConfigError: There is no such budget.
    """
    budget = next((one for one in rules.budgets if one.id == budget_id), None)
    if budget is None:
        raise ConfigError(f"no budget has the id {budget_id!r}")
    whose = _values(budget, owner)
    window = window_of(budget, Assignments(rules).of(owner.customer))
    keys = periods(window, at_unix_ns)[0] if key is None else (key,)
    is_soft = budget.on_exceed in LETS_PASS
    return _accounts(budget, whose, keys, Limits(budget).of(whose), is_soft=is_soft)


def _accounts(
    budget: Budget,
    whose: Mapping[str, str | None],
    keys: tuple[str, ...],
    limit: int,
    *,
    is_soft: bool,
) -> tuple[Account, ...]:
    """Name the accounts of a budget for somebody, one for each period."""
    scope = _scope(whose)
    return tuple(
        [
            Account(
                budget_id=budget.id,
                scope=scope,
                period=key,
                limit=limit,
                unit=budget.unit,
                is_soft=is_soft,
            )
            for key in keys
        ]
    )


def scope_of(budget: Budget, attribution: Attribution) -> str:
    """Name the part of a divided budget that somebody has, in canonical JSON; `""` undivided."""
    return _scope(_values(budget, attribution))


def _values(budget: Budget, attribution: Attribution) -> dict[str, str | None]:
    return {key: value_of(attribution, key) for key in budget.per}


def _scope(values: Mapping[str, str | None]) -> str:
    if not values:
        return ""
    scope = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        scope.encode()
    except UnicodeEncodeError:  # half a character, of a variable that is no UTF-8, say
        return json.dumps(values, sort_keys=True, separators=(",", ":"))
    return scope


def read_scope(scope: str) -> tuple[tuple[str, str | None], ...]:
    """Read a scope back into (dimension, value) pairs."""
    return tuple(json.loads(scope).items()) if scope else ()


def _kind_of(
    budgets: tuple[Budget, ...], keys_of_policies: frozenset[str], *, heeds_blocks: bool
) -> Callable[[Call], object] | None:
    """Return what tells calls apart: all that the rules ask of them; None if they ask nothing."""
    keys = {key for budget in budgets for key in budget.per} | keys_of_policies
    keys |= {condition.key for budget in budgets for condition in budget.where}
    keys |= {"trace" for budget in budgets if budget.window.every == TRACE}
    names: set[str] = {"attribution.budgets"} if heeds_blocks else set()
    if any(budget.finish_reserve for budget in budgets):
        names.add("attribution.finishing")
    for key in keys:
        if key in ("model", "tool"):
            names |= {"request.provider", "request.model"}
        elif key in SUBJECTS:
            names.add(f"request.{key}")
        else:
            names.add("attribution.tags" if is_tag(key) else f"attribution.{key}")
    return attrgetter(*sorted(names)) if names else None


def names_somebody(condition: Condition) -> bool:
    """Say whether a condition is for certain owners, each by the whole of its name."""
    patterns = condition.patterns
    return condition.key not in SUBJECTS and bool(patterns) and not any(map(_GLOB.search, patterns))


def _tests(conditions: tuple[Condition, ...]) -> tuple[_Test, ...]:
    return tuple([test_of(condition) for condition in conditions])


def test_of(condition: Condition) -> _Test:
    """Return a function that says whether a call meets a condition."""
    key = condition.key
    is_subject = key in SUBJECTS
    flags = re.IGNORECASE if is_subject else 0
    is_nobody = not is_subject and not condition.patterns
    wanted = re.compile(_any_of(condition.patterns or ("*",)), flags)
    unwanted = re.compile(_any_of(condition.excluded), flags) if condition.excluded else None

    def is_met(call: Call) -> bool:
        value = _what(call.request, key) if is_subject else value_of(call.attribution, key)
        if value is None:
            return is_nobody
        return wanted.match(value) is not None and not (unwanted and unwanted.match(value))

    return is_met


def _any_of(patterns: tuple[str, ...]) -> str:
    return "|".join(map(fnmatch.translate, patterns))


def said_of(call: Call, key: str) -> str | None:
    """Return what a call says of what `where` may name; None when it says nothing."""
    return _what(call.request, key) if key in SUBJECTS else value_of(call.attribution, key)


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
