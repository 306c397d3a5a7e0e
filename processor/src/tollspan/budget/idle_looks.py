"""Which accounts of idle windows are in force: the authority that decides says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from .idle import Touch, idle_key, read_idle, read_unnamed
from .values import Account

Ask = Callable[[Touch], str]
"""Names the period of an account's owner."""


def named_in_force(accounts: Sequence[Account], ask: Ask) -> tuple[Account, ...]:
    """Return accounts, those of idle windows in the period that runs, or would begin now.

    Raises:
        LedgerError: The authority can't answer.
    """
    return tuple([_named(one, ask) for one in accounts])


def _named(account: Account, ask: Ask) -> Account:
    idle_seconds = read_unnamed(account.period)
    if idle_seconds is None:
        return account
    proposed = idle_key(idle_seconds, time.time_ns() // 1_000)
    return msgspec.structs.replace(account, period=_look(account, proposed, idle_seconds, ask))


def idle_past(accounts: Iterable[Account], ask: Ask) -> set[tuple[str, str, str]]:
    """Return budget, scope and period of accounts whose owners have begun anew, or would.

    Raises:
        LedgerError: The authority can't answer.
    """
    idle = sorted([one for one in accounts if read_idle(one.period) is not None], key=_began)
    newest = {(one.budget_id, one.scope): one for one in idle}
    running = {id(one) for one in newest.values()}
    past = {(one.budget_id, one.scope, one.period) for one in idle if id(one) not in running}
    for place, account in newest.items():
        period = read_idle(account.period)
        seconds = 0 if period is None else period.idle_seconds
        # As a call would ask that knows of no period: one that nobody remembers is over.
        proposed = idle_key(seconds, max(time.time_ns() // 1_000, _began(account) + 1))
        if _look(account, proposed, seconds, ask) != account.period:
            past.add((*place, account.period))
    return past


def _look(account: Account, period: str, idle_seconds: int, ask: Ask) -> str:
    account = msgspec.structs.replace(account, period=period)
    return ask(Touch(account=account, idle_seconds=idle_seconds, is_look=True))


def _began(account: Account) -> int:
    period = read_idle(account.period)
    return 0 if period is None else period.began_at_us
