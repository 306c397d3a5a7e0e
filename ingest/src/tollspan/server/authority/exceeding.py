"""Which accounts of a tenant are used up: told to hosts with the answer to each batch of events.

What a batch has charged is looked at in the authority; what was found used up before is known to
all replicas by the books, and is looked at again about once a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from tollspan.budget import (
    IDLE,
    LETS_PASS,
    TRACE,
    Account,
    AccountKey,
    Balance,
    LimitsInForce,
    account_of,
    end_of_key,
    is_allowance,
    key_of,
)
from tollspan.ledger.central import MOST_SPENT, SpentAccount, SpentAccounts
from tollspan.server.event_answers import ExceededWords
from tollspan.server.rules import NO_RULES, RulesInForce, TenantRules
from tollspan.usage import Charge, DecisionEvent, Fact, TollspanError

from .standing import Authorities

LOOK_SECONDS: Final = 1.0
_MOST_TOUCHED: Final = 500
_MOST_TENANTS: Final = 1_000
_LONGEST_NAME: Final = 512
_LONGEST_SCOPE: Final = 16_384
_UNENDING_NS: Final = 86_400 * 10**9
"""Periods that no clock ends are told so long after they were used up."""
_LOG_EVERY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class _Known(msgspec.Struct):
    """What is known of one tenant, by one version of its rules; looked at anew at a time.

    Attributes:
        limits: Of the rules.
        version: Of the rules.
        spent: The accounts that are used up, each with when that was noted last.
        until: When that is to be looked at again, by the monotonic clock.
    """

    limits: LimitsInForce
    version: int
    spent: dict[AccountKey, tuple[SpentAccount, int]] = {}
    until: float = 0.0


class Exceeding:
    """Says which accounts are used up. Safe for threads.

    Args:
        authorities: Hold the money.
        rules: Say the limits.
        spent: Remembers what was found, for all replicas.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        authorities: Authorities,
        rules: RulesInForce,
        spent: SpentAccounts,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._authorities = authorities
        self._rules = rules
        self._store = spent
        self._clock = clock
        self._lock = threading.Lock()
        self._tenants: OrderedDict[str, _Known] = OrderedDict()
        self._logged_at = -_LOG_EVERY_SECONDS

    def after(self, tenant: str, charges: Iterable[Charge]) -> tuple[ExceededWords, ...] | None:
        """Return a tenant's accounts that are used up, once calls have charged some.

        Returns:
            None where the tenant has no rules here, or where nobody can say: what was stored is not
            to fail for that.
        """
        try:
            rules = self._rules.of(tenant)
            return None if rules is NO_RULES else self._told(tenant, rules, charges)
        except TollspanError as error:
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at = now
                _log.warning("hosts can't be told which budgets are used up: %s", error)
            return None

    def _told(
        self, tenant: str, rules: TenantRules, charges: Iterable[Charge]
    ) -> tuple[ExceededWords, ...]:
        known = self._known(tenant, rules)
        now = self._clock()
        asked = _charged(charges)
        is_due = time.monotonic() >= known.until
        if is_due:
            found = self._store.all(tenant)
            known.spent = {_key(one): (one, noted_ns) for one, noted_ns in found}
            known.until = time.monotonic() + LOOK_SECONDS
            asked.update((key, account_of(key)) for key in known.spent)
        accounts = [
            limited for one in asked.values() if (limited := _limited(known, one, now)) is not None
        ]
        if accounts or is_due:
            self._note(tenant, known, accounts, now, is_complete=is_due)
        return tuple(self._words(known, now))

    def _known(self, tenant: str, rules: TenantRules) -> _Known:
        with self._lock:
            known = self._tenants.get(tenant)
            if known is None or known.version != rules.version:
                known = _Known(LimitsInForce(rules.rules), rules.version)
                self._tenants[tenant] = known
            self._tenants.move_to_end(tenant)
            while len(self._tenants) > _MOST_TENANTS:
                self._tenants.popitem(last=False)
            return known

    def _note(
        self,
        tenant: str,
        known: _Known,
        accounts: Sequence[Account],
        now: int,
        *,
        is_complete: bool,
    ) -> None:
        """Look at accounts, and note what has changed.

        Args:
            tenant: Whose.
            known: What is known, which changes.
            accounts: With the limits in force.
            now: Unix nanoseconds.
            is_complete: All that was known is among them, or is over.
        """
        balances = self._authorities.of(tenant).balances(accounts) if accounts else ()
        spent = {key_of(one.account): one for one in balances if _is_spent(one)}
        looked_at = {key_of(one.account) for one in balances}
        before = dict(known.spent)
        gone = [
            one
            for key, (one, noted_ns) in before.items()
            if (key in looked_at and key not in spent)
            or (is_complete and _is_old(known, key, noted_ns, now, is_running=key in looked_at))
        ]
        room = MOST_SPENT - len(before) + len(gone)
        new = [_spent(one) for key, one in spent.items() if key not in before]
        more = [
            _spent(one)
            for key, one in spent.items()
            if key in before and before[key][0].spent < one.account.limit  # which was raised
        ]
        found = [*more, *new[: max(0, room)]]
        if found or gone:
            self._store.change(tenant, found, gone)
            dropped = {_key(one) for one in gone}
            after = {key: one for key, one in before.items() if key not in dropped}
            known.spent = {**after, **{_key(one): (one, now) for one in found}}

    def _words(self, known: _Known, now: int) -> Iterator[ExceededWords]:
        for one, noted_ns in list(known.spent.values()):
            account = _limited(known, account_of(_key(one)), now)
            if account is None or one.spent < account.limit:
                continue
            if _is_old(known, _key(one), noted_ns, now, is_running=True):
                continue
            ends_at = _ends_at(known, account)
            yield ExceededWords(
                budget_id=one.budget_id,
                scope=one.scope,
                period=one.period,
                unit=one.unit,
                limit=str(account.limit),
                spent=str(one.spent),
                held=str(one.held),
                resets_at=None if ends_at is None else _moment(ends_at),
            )


def charges_in(facts: Iterable[Fact]) -> Iterator[Charge]:
    """Yield what events have charged."""
    for fact in facts:
        yield from () if isinstance(fact, DecisionEvent) else fact.charges


def _charged(charges: Iterable[Charge]) -> dict[AccountKey, Account]:
    """Return the accounts that were charged, so many at most."""
    found: dict[AccountKey, Account] = {}
    for charge in charges:
        key = (charge.budget_id, charge.scope, charge.period, charge.unit)
        if key not in found and len(found) < _MOST_TOUCHED and _is_name(key):
            found[key] = account_of(key)
    return found


def _is_name(key: AccountKey) -> bool:
    """Say whether an authority can be asked for an account, whatever a client made up."""
    budget_id, scope, period, unit = key
    is_short = max(map(len, (budget_id, period, unit))) <= _LONGEST_NAME
    return is_short and len(scope) <= _LONGEST_SCOPE and "\0" not in "".join(key)


def _limited(known: _Known, account: Account, now: int) -> Account | None:
    """Return an account with its limit, if its budget refuses calls and its period runs."""
    if is_allowance(account.period):
        return None
    try:
        budget = known.limits.budget_of(account)
        limited = known.limits.of(account)
        ends_at = _ends_at(known, account)
    except (ValueError, OverflowError, AttributeError):  # a client has made it up
        return None
    if budget is None or limited is None or budget.on_exceed in LETS_PASS:
        return None
    return limited if ends_at is None or ends_at > now else None


def _ends_at(known: _Known, account: Account) -> int | None:
    """Return when a period ends; None where no clock ends it.

    Raises:
        ValueError, OverflowError: It can't be a period.
    """
    budget = known.limits.budgets.get(account.budget_id)
    return end_of_key(account.period, "UTC" if budget is None else budget.window.timezone)


def _is_old(known: _Known, key: AccountKey, noted_ns: int, now: int, *, is_running: bool) -> bool:
    """Say whether an account was used up long ago, and its period is over as far as one can say."""
    budget = known.limits.budgets.get(key[0])
    is_unending = budget is not None and budget.window.every in (IDLE, TRACE)
    return now - noted_ns > _UNENDING_NS and (is_unending or not is_running)


def _is_spent(balance: Balance) -> bool:
    """Say whether nothing is left, whatever becomes of what is held now.

    What hosts have leased they may still use: it is not spent before they say so.
    """
    return balance.posted + balance.unresolved >= balance.account.limit


def _spent(balance: Balance) -> SpentAccount:
    account = balance.account
    return SpentAccount(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        spent=balance.posted + balance.unresolved,
        held=balance.held,
    )


def _key(spent: SpentAccount) -> AccountKey:
    return spent.budget_id, spent.scope, spent.period, spent.unit


def _moment(unix_ns: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(unix_ns // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return None
