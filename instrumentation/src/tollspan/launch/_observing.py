"""What happens after calls, in the worker: warnings, and what the program wants to hear of."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tollspan.budget import (
    BudgetWarning,
    Milestones,
    PolicyWarner,
    PolicyWarning,
    RuleSet,
    Standing,
    Warner,
)
from tollspan.instrumentation import Listeners
from tollspan.usage import CallDeniedError, LedgerError, UsageEvent, format_amount

_logger = logging.getLogger("tollspan.budgets")


class AfterCalls:
    """Tells the program's listeners of calls, and warns of budgets that run low.

    Args:
        listeners: The program's functions.

    Attributes:
        seen: Are told of every finished call.
        warner: Warns of budgets that run low.
        policy_warner: Warns of policies that are violated.
    """

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self.seen: list[Callable[[UsageEvent], None]] = []
        self.warner: Warner | None = None
        self.policy_warner: PolicyWarner | None = None

    def watch(
        self, rules: Callable[[], RuleSet], standing: Standing, milestones: Milestones
    ) -> None:
        """Warn by the rules in force, of how the accounts stand and of what they only warn of."""
        self.warner = Warner(rules, standing, milestones, self.warn)
        self.policy_warner = PolicyWarner(rules, self.warn_of_policy)

    def record(self, event: UsageEvent) -> None:
        """Look at a finished call."""
        for see in self.seen:
            see(event)
        self._listeners.usage(event)
        if self.policy_warner is not None:
            self.policy_warner.look(event)
        if self.warner is not None:
            try:
                self.warner.look(event)
            except LedgerError as error:
                _logger.info("tollspan can't see how the budgets stand: %s", error)

    def deny(self, denial: CallDeniedError) -> None:
        """Look at a refusal."""
        self._listeners.deny(denial)

    def warn_of_policy(self, warning: PolicyWarning) -> None:
        """Log a warning of a policy, and tell the program."""
        of = "".join(f", {key} {value}" for key, value in warning.scope)
        _logger.warning(
            "tollspan: a call violated policy %s%s, which only warns", warning.rule_id, of
        )
        self._listeners.warn(warning)

    def warn(self, warning: BudgetWarning) -> None:
        """Log a warning, and tell the program."""
        of = "".join(f", {key} {value}" for key, value in warning.scope)
        spent, limit = (format_amount(one, warning.unit) for one in (warning.spent, warning.limit))
        if warning.share is None:
            _logger.warning(
                "tollspan: a call did not fit budget %s%s (%s of %s spent), which only warns",
                warning.rule_id,
                of,
                spent,
                limit,
            )
        else:
            _logger.warning(
                "tollspan: budget %s%s has used %s %% of its limit: %s of %s",
                warning.rule_id,
                of,
                f"{(warning.share * 100).normalize():f}",
                spent,
                limit,
            )
        self._listeners.warn(warning)
