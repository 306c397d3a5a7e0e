"""Plans of calls in idle windows: their periods are named, and kept alive while calls run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from tollspan.usage import Bound

from .allowances import plain_period
from .idle import read_idle, read_unnamed
from .plans import Plan
from .values import Account, Decision, Hold
from .verdicts import JudgedPlan


class Followed(Protocol):
    """Who wants to know of calls in flight, in whose periods they are."""

    def enter(self, call_id: str, accounts: Iterable[Account]) -> None:
        """Keep the periods of a call alive until it leaves."""
        ...

    def leave(self, call_id: str) -> None:
        """Note that a call has ended; nothing for one that never entered."""
        ...


class IdlePlan(msgspec.Struct, frozen=True):
    """The plan of one call that is in some idle window.

    Attributes:
        call_id: The call.
        plan: Its plan otherwise.
        followed: Is told of it.
    """

    call_id: str
    plan: Plan | JudgedPlan
    followed: Followed

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on the call when every budget has room for it."""
        return follow(self.call_id, self.plan.allow(hold, bound), self.followed)

    def join(self, decision: Decision) -> Decision:
        """Return the decision when some budget has no room, or can't be asked."""
        return follow(self.call_id, self.plan.join(decision), self.followed)

    @property
    def may_fit(self) -> bool:
        """Whether the call may be changed until it fits."""
        return self.plan.may_fit


def follow(call_id: str, decision: Decision, followed: Followed) -> Decision:
    """Have it told when a call ends that goes ahead in an idle window, and that it has begun."""
    hold = decision.hold
    if decision.denial is not None or hold is None:
        return decision
    accounts = [*[account for account, _ in hold.legs], *hold.unasked]
    if not any(read_idle(plain_period(account.period)) for account in accounts):
        return decision
    followed.enter(call_id, accounts)
    before = decision.on_end

    def on_end() -> None:
        followed.leave(call_id)
        if before is not None:
            before()

    # The closer looks at `on_end` on its longer path: where not all accounts are of money.
    hold = msgspec.structs.replace(hold, is_money=False)
    return msgspec.structs.replace(decision, hold=hold, on_end=on_end)


def in_periods(plan: Plan, name: Callable[[Account], str]) -> Plan:
    """Return a plan whose accounts are in the periods that a function names."""
    named = {
        account: account
        if read_unnamed(account.period) is None
        else in_period(account, name(account))
        for account in plan.accounts
    }
    return msgspec.structs.replace(
        plan,
        accounts=tuple([named[account] for account in plan.accounts]),
        cooling=tuple([named[account] for account in plan.cooling]),
    )


def in_period(account: Account, key: str) -> Account:
    """Return an account in another period."""
    return msgspec.structs.replace(account, period=key)
