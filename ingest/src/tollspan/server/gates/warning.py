"""Tells of budgets that run low after a call over HTTP, as a host does after its own."""

from __future__ import annotations

import logging
import threading

from tollspan.budget import BudgetWarning, RuleSet, SharedAuthority, Warner, warning_event
from tollspan.server.tally import Store
from tollspan.usage import LedgerError, UsageEvent

_log = logging.getLogger(__name__)


class CallWarner:
    """Stores the warnings of one tenant's budgets, of which its webhooks tell. Safe for threads.

    What another server or host has told is not told again.

    Attributes:
        is_wanted: Some budget warns.

    Args:
        store: Stores them.
        tenant: Whose.
        rules: In force.
        authority: Says how accounts stand, and what was told.
    """

    def __init__(
        self, store: Store, tenant: str, rules: RuleSet, authority: SharedAuthority
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._told: list[BudgetWarning] = []
        self._warner = Warner(lambda: rules, authority, authority, self._told.append)
        self.is_wanted = any(one.warn_at or one.on_exceed == "warn" for one in rules.budgets)
        self._lock = threading.Lock()

    def look(self, event: UsageEvent) -> None:
        """Tell what a call brought about that was charged; where that fails, a later call does."""
        if not self.is_wanted:
            return
        with self._lock:
            self._told.clear()
            try:
                self._warner.look(event)
            except LedgerError as error:
                _log.warning("budgets that run low can't be told now: %s", error)
            told = [warning_event(event, one, nth) for nth, one in enumerate(self._told, 1)]
        if told:
            self._store(self._tenant, told)
