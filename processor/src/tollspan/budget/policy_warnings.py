"""Tells of calls that violate a policy which lets them through: away from the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tollspan.usage import Call, UsageEvent

from .plans import said_of
from .policies import TURN, Policy
from .rules import RuleSet
from .violations import Scope

_EVERY_SECONDS = 60.0
_MOST_REMEMBERED = 10_000


class PolicyWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A call violated a policy whose `on_violation` is `warn`, and was let through.

    Attributes:
        rule_id: The policy.
        scope: Whose calls, or what calls, it counts together, as (dimension, value) pairs; `()`
            where it does not count.
        message, upgrade_url: As the rule says them.
        call_id: The call.
    """

    rule_id: str
    scope: Scope
    message: str | None
    upgrade_url: str | None
    call_id: str


class PolicyWarner:
    """Looks at calls after they were made. For one thread.

    Args:
        rules: The rules in force.
        tell: Is told of each warning: at most once a minute for a policy and a scope.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        tell: Callable[[PolicyWarning], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._tell = tell
        self._clock = clock
        self._seen: tuple[RuleSet | None, dict[str, Policy]] = (None, {})
        self._told_at: dict[tuple[str, Scope], float] = {}

    def look(self, event: UsageEvent) -> None:
        """Tell which policies a finished call violated."""
        if event.decision.action == "warn":
            policies = self._policies()
            for rule_id in event.decision.rule_ids:
                if rule_id in policies:
                    self._warn(policies[rule_id], event.call)

    def _policies(self) -> dict[str, Policy]:
        """Return the policies that warn, by id."""
        rules = self._rules()
        if self._seen[0] is not rules:
            found = {one.id: one for one in rules.policies if one.on_violation == "warn"}
            self._seen = (rules, found)
        return self._seen[1]

    def _warn(self, policy: Policy, call: Call) -> None:
        counted = (*policy.per, *(policy.loop.of if policy.loop is not None else ()))
        keys = [key for key in dict.fromkeys(counted) if key != TURN]
        scope = tuple([(key, said_of(call, key)) for key in keys])
        now = self._clock()
        if now - self._told_at.get((policy.id, scope), -_EVERY_SECONDS) < _EVERY_SECONDS:
            return
        if len(self._told_at) >= _MOST_REMEMBERED:
            self._told_at.clear()
        self._told_at[policy.id, scope] = now
        self._tell(
            PolicyWarning(
                rule_id=policy.id,
                scope=scope,
                message=policy.message,
                upgrade_url=policy.upgrade_url,
                call_id=call.id,
            )
        )
