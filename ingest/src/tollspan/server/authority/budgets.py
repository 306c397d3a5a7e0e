"""How a tenant's budgets stand: those of the rules in force, and all accounts that count something.

`look_at_budgets` is what a page of a list, or of a bar for each budget, is made of: a `BudgetPage`
has `rows`, and the `cursor` of the next page. Of a row, `share` is how much of the limit is used
(`posted`, `held` and `unresolved` beside each other fill the bar), `scope` whose part it is, and
`ends_at_unix_ns` when it begins anew. All amounts are integers of `unit`: nano-USD, milliseconds,
else so many.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from tollspan.budget import (
    FOLDED,
    IDLE,
    TRACE,
    Account,
    Balance,
    Budget,
    LimitsInForce,
    ListingAuthority,
    OnExceed,
    RuleSet,
    end_of_key,
    fullest,
    idle_past,
    is_allowance,
    key_of,
    periods,
    plain_period,
    read_number,
    read_rolling,
)
from tollspan.server.questions import LATEST_NS

_MOST_AT_ONCE: Final = 500
_MOST_LOOKED_AT: Final = 20
"""So many pages of an authority are looked at for one of ours, which may then be short."""
_RULES: Final = "r"
_ACCOUNTS: Final = "a"
_MADE_UP: Final = ""
"""The dimension under which a scope is shown that is none."""
_TRACE: Final = re.compile("[0-9a-f]{32}")


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands, or the part of one that an owner has.

    Attributes:
        budget_id: The budget.
        scope: Whose part of a divided one: dimension to value, None where calls say none.
        period: The window's key, `2026-11` say.
        is_allowance: It counts what was spent while nobody could be asked.
        unit: What is counted.
        limit: By the rules in force; None where they say none.
        posted, held, unresolved: Spent; granted to hosts and calls that run; of what nobody knows
            whether it was spent.
        ends_at_unix_ns: When the period ends; None where no clock ends it.
        on_exceed: What becomes of a call for which there is no room; None where no rule says it.
    """

    budget_id: str
    scope: dict[str, str | None]
    period: str
    is_allowance: bool
    unit: str
    limit: int | None
    posted: int
    held: int
    unresolved: int
    ends_at_unix_ns: int | None
    on_exceed: OnExceed | None

    @property
    def counted(self) -> int:
        """What counts against the limit."""
        return self.posted + self.held + self.unresolved

    @property
    def remaining(self) -> int | None:
        """What is left, below 0 after an overrun; None without a limit."""
        return None if self.limit is None else self.limit - self.counted

    @property
    def share(self) -> float | None:
        """How much of the limit is used, for people: 1.0 is all; None without a limit."""
        if self.limit is None:
            return None
        return self.counted / self.limit if self.limit else 1.0


class BudgetQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which budgets are asked for.

    Attributes:
        budget_id: Only this one; None for all.
        values: Dimension to the value that the scope must have; None for those that say none.
        with_past: Periods that are over, traces and what was folded, too.
        cursor: Of the page before; empty for the first.
        most: About how many rows.
    """

    budget_id: str | None = None
    values: Mapping[str, str | None] = {}
    with_past: bool = False
    cursor: str = ""
    most: int = 100

    def wants(self, account: Account) -> bool:
        """Say whether an account is asked for."""
        if self.budget_id not in (None, account.budget_id):
            return False
        scope = scope_of(account.scope) if self.values else {}
        return all(key in scope and scope[key] == one for key, one in self.values.items())


class BudgetPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some budgets: first the undivided ones in the order of the rules, then what else is counted.

    Attributes:
        rows: These.
        cursor: Where the next ones begin; empty behind the last.
    """

    rows: tuple[BudgetRow, ...]
    cursor: str


def look_at_budgets(
    authority: ListingAuthority,
    rules: RuleSet,
    asked: BudgetQuestion,
    clock: Callable[[], int] = time.time_ns,
) -> BudgetPage:
    """Look at a tenant's budgets, a page at a time; it waits for the authority.

    Raises:
        ValueError: The cursor is none.
        LedgerError: The authority can't answer.
    """
    return _Look(authority, rules, asked, clock()).page()


def scope_of(scope: str) -> dict[str, str | None]:
    """Read whose part an account is; what a client made up is shown as it is."""
    if not scope:
        return {}
    try:
        return msgspec.json.decode(scope, type=dict[str, str | None])
    except (msgspec.DecodeError, UnicodeError):
        return {_MADE_UP: scope}


class _Look:
    def __init__(
        self, authority: ListingAuthority, rules: RuleSet, asked: BudgetQuestion, now_unix_ns: int
    ) -> None:
        self._authority = authority
        self._asked = asked
        self._now = now_unix_ns
        self._limits = LimitsInForce(rules)
        self._undivided = [one for one in rules.budgets if _has_one_account(one)]
        named = [one for budget in self._undivided for one in _current(budget, now_unix_ns)]
        self._shown = {key_of(one) for one in named}

    def page(self) -> BudgetPage:
        kind, _, cursor = (self._asked.cursor or f"{_RULES}0").partition(":")
        rows: list[BudgetRow] = []
        if kind.startswith(_RULES):
            begins = read_number(kind[1:])
            ends = begins + self._asked.most
            rows += self._of_rules(self._undivided[begins:ends])
            if ends < len(self._undivided):
                return BudgetPage(rows=tuple(rows), cursor=f"{_RULES}{ends}")
        elif kind != _ACCOUNTS:
            raise ValueError("expected the cursor of a page of budgets")
        for _ in range(_MOST_LOOKED_AT):
            wanted = self._asked.most - len(rows)
            if wanted <= 0:
                break
            found = self._authority.accounts(cursor, min(wanted, _MOST_AT_ONCE))
            rows += self._of_accounts(found.balances)
            cursor = found.cursor
            if not cursor:
                return BudgetPage(rows=tuple(rows), cursor="")
        return BudgetPage(rows=tuple(rows), cursor=f"{_ACCOUNTS}:{cursor}")

    def _of_rules(self, budgets: Sequence[Budget]) -> Iterator[BudgetRow]:
        """Say how undivided budgets stand in the period that runs, whether they are used or not."""
        accounts = [one for budget in budgets for one in _current(budget, self._now)]
        wanted = [one for one in accounts if self._asked.wants(one)]
        if wanted:
            yield from map(self._row, fullest(self._authority.balances(wanted)))

    def _of_accounts(self, balances: Sequence[Balance]) -> Iterator[BudgetRow]:
        """Say how accounts stand, but those that were shown for their rules."""
        found = [one for one in balances if self._asked.wants(one.account)]
        found = [one for one in found if key_of(one.account) not in self._shown]
        if not self._asked.with_past:
            idle = [one.account for one in found]
            past = idle_past(idle, self._authority.touch)
            found = [one for one in found if self._runs(one, past)]
        for one in found:
            if not self._is_hidden(one):
                yield self._row(one)

    def _runs(self, balance: Balance, past: set[tuple[str, str, str]]) -> bool:
        account = balance.account
        period = plain_period(account.period)
        if account.scope == FOLDED or (account.budget_id, account.scope, period) in past:
            return False
        if is_allowance(account.period) and not balance.counted:
            return False
        ends_at = self._ends_at(account)
        return not _TRACE.fullmatch(period) if ends_at is None else ends_at > self._now

    def _is_hidden(self, balance: Balance) -> bool:
        """Say whether another account stands for this one: the fullest of a rolling window."""
        account = balance.account
        rolling = read_rolling(plain_period(account.period))
        budget = self._limits.budget_of(account)
        if rolling is None or rolling.ends_at_unix_ns <= self._now:
            return False
        if budget is None or budget.window.seconds != rolling.seconds:
            return False
        suffix = account.period.removeprefix(plain_period(account.period))
        siblings = [
            msgspec.structs.replace(account, period=key + suffix)
            for key in periods(budget.window, self._now)[0]
        ]
        standing = fullest(self._authority.balances(siblings))
        return account.period not in [one.account.period for one in standing]

    def _row(self, balance: Balance) -> BudgetRow:
        account = balance.account
        scope = scope_of(account.scope)
        is_made_up = _MADE_UP in scope
        limited = None if is_made_up else self._limits.of(account)
        budget = None if is_made_up else self._limits.budget_of(account)
        return BudgetRow(
            budget_id=account.budget_id,
            scope=scope,
            period=plain_period(account.period),
            is_allowance=is_allowance(account.period),
            unit=account.unit,
            limit=None if limited is None else limited.limit,
            posted=balance.posted,
            held=balance.held,
            unresolved=balance.unresolved,
            ends_at_unix_ns=self._ends_at(account),
            on_exceed=None if budget is None else budget.on_exceed,
        )

    def _ends_at(self, account: Account) -> int | None:
        """Return when a period ends; None for what can't be a period, which a client may say."""
        budget = self._limits.budgets.get(account.budget_id)
        zone = "UTC" if budget is None else budget.window.timezone
        try:
            ends_at = end_of_key(account.period, zone)
        except (ValueError, OverflowError):
            return None
        return None if ends_at is None or not 0 <= ends_at <= LATEST_NS else ends_at


def _has_one_account(budget: Budget) -> bool:
    """Say whether a budget is counted in one place, however nobody has used it yet."""
    return not budget.per and budget.window.every not in (TRACE, IDLE)


def _current(budget: Budget, now_unix_ns: int) -> tuple[Account, ...]:
    """Name the accounts of an undivided budget in which a call that begins now counts."""
    keys, _ = periods(budget.window, now_unix_ns)
    return tuple(
        [
            Account(budget_id=budget.id, scope="", period=key, limit=budget.limit, unit=budget.unit)
            for key in keys
        ]
    )
