"""What happens after calls, in the worker: warnings, and what the program wants to hear of."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tollspan.budget import (
    BudgetWarning,
    Milestones,
    MoneyWarner,
    PolicyWarner,
    RuleSet,
    Standing,
    UnresolvedWarning,
    Warner,
    warning_event,
)
from tollspan.instrumentation import AnyWarning, Listeners, warning_text
from tollspan.usage import CallDeniedError, DecisionEvent, LedgerError, UsageEvent

_logger = logging.getLogger("tollspan.budgets")


class AfterCalls:
    """Tells the program's listeners of calls, and warns of budgets that run low.

    Args:
        listeners: The program's functions.

    Attributes:
        seen: Are told of every finished call.
        warned: Are told of every warning, before the program is.
        warner: Warns of budgets that run low.
        policy_warner: Warns of policies that are violated.
        money_warner: Warns of overruns, and of money that became unresolved.
        note: Stores the events of warnings; None to store none.
    """

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self.seen: list[Callable[[UsageEvent], None]] = []
        self.warner: Warner | None = None
        self.policy_warner: PolicyWarner | None = None
        self.warned: list[Callable[[AnyWarning], None]] = []
        self.money_warner = MoneyWarner(self.warn)
        self.note: Callable[[DecisionEvent], None] | None = None
        self._of_this_call: list[BudgetWarning] = []

    def watch(
        self, rules: Callable[[], RuleSet], standing: Standing, milestones: Milestones
    ) -> None:
        """Warn by the rules in force, of how the accounts stand and of what they only warn of."""
        self.warner = Warner(rules, standing, milestones, self._warn_of_budget)
        self.policy_warner = PolicyWarner(rules, self.warn)

    def record(self, event: UsageEvent) -> None:
        """Look at a finished call."""
        for see in self.seen:
            see(event)
        self._listeners.usage(event)
        self.money_warner.look(event)
        if self.policy_warner is not None:
            self.policy_warner.look(event)
        if self.warner is not None:
            try:
                self.warner.look(event)
            except LedgerError as error:
                _logger.info("tollspan can't see how the budgets stand: %s", error)
            self._store(event)

    def _warn_of_budget(self, warning: BudgetWarning) -> None:
        self._of_this_call.append(warning)
        self.warn(warning)

    def _store(self, event: UsageEvent) -> None:
        """Store what was warned of after a call: servers are sent that too."""
        told, self._of_this_call = self._of_this_call, []
        if self.note is not None:
            for number, warning in enumerate(told, 1):
                self.note(warning_event(event, warning, number))

    def deny(self, denial: CallDeniedError) -> None:
        """Look at a refusal."""
        self._listeners.deny(denial)

    def warn(self, warning: AnyWarning) -> None:
        """Log a warning, count it, and tell the program."""
        _logger.log(_level(warning), "tollspan: %s", warning_text(warning))
        for tell in self.warned:
            tell(warning)
        self._listeners.warn(warning)


def _level(warning: AnyWarning) -> int:
    """Choose how loud a warning is: a stream that is left is no trouble in most programs."""
    is_of_a_call = isinstance(warning, UnresolvedWarning) and warning.reason == "call"
    return logging.INFO if is_of_a_call else logging.WARNING
