"""The gates of tenants: one for each set of rules in force, as an SDK has one in its process.

What policies count, loops and calls under way, each server counts by itself.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tollspan.budget import Bounds, BudgetGate, CallLeases, Decision, NoAuthority
from tollspan.server.authority import Authorities
from tollspan.server.rules import RulesInForce
from tollspan.server.tally import Store
from tollspan.usage import Call, LedgerError

from .warning import CallWarner

_MOST_GATES: Final = 128
_MOST_BYTES: Final = 8 << 20
_MOST_OPEN: Final = 50_000
_IDLE_SECONDS: Final = 600.0


class TenantGate:
    """The gate of one tenant by one version of its rules.

    Attributes:
        version: Of the rules.
        size: Of their text, in characters.
        gate: Decides.
        leases: Has what it held just now.
        warner: Tells of budgets that run low.
        used_at: When it was asked last, by the monotonic clock.
    """

    def __init__(
        self, version: int, size: int, gate: BudgetGate, leases: CallLeases, warner: CallWarner
    ) -> None:
        self.version = version
        self.size = size
        self.gate = gate
        self.leases = leases
        self.warner = warner
        self.used_at = time.monotonic()


class TenantGates:
    """The gates of all tenants. Safe for threads.

    Args:
        authorities: Who holds the money.
        rules: By which the gates decide.
        bounds: What calls can cost at most.
        hold_seconds: How long a call may take before what it holds becomes unresolved.
        store: Stores warnings.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        authorities: Authorities,
        rules: RulesInForce,
        bounds: Bounds,
        *,
        hold_seconds: float,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._rules = rules
        self._bounds = bounds
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._gates: OrderedDict[str, TenantGate] = OrderedDict()
        self._open: OrderedDict[tuple[str, str], tuple[float, Callable[[], None]]] = OrderedDict()

    def of(self, tenant: str) -> TenantGate:
        """Return a tenant's gate by the rules in force.

        Raises:
            ConfigError: They can't be read.
            LedgerError: The books or the authority can't answer.
        """
        found = self._rules.of(tenant)
        with self._lock:
            gate = self._gates.get(tenant)
            if gate is not None and gate.version == found.version:
                self._gates.move_to_end(tenant)
                gate.used_at = self._clock()
                return gate
        authority = self._authorities.of(tenant).lasting(self._hold_seconds)
        leases = CallLeases(authority)
        made = TenantGate(
            found.version,
            len(found.text),
            BudgetGate(found.rules, self._bounds, leases, clock=self._clock),
            leases,
            CallWarner(self._store, tenant, found.rules, authority),
        )
        with self._lock:
            self._gates[tenant] = made
            self._forget_some()
        return made

    def spending(self, tenant: str) -> BudgetGate | None:
        """Return what names the accounts of calls that were made without asking.

        While nobody can be asked it names them too, those of idle windows as well as it can.

        Returns:
            None where the tenant has no budget.

        Raises:
            ConfigError: The rules can't be read.
            LedgerUnavailableError: The books can't be used.
        """
        rules = self._rules.of(tenant).rules
        if not rules.budgets:
            return None
        try:
            return self.of(tenant).gate
        except LedgerError as error:
            return BudgetGate(rules, self._bounds, NoAuthority(error), clock=self._clock)

    def enter(self, tenant: str, call: Call, decision: Decision) -> None:
        """Count a call among those under way, until it leaves or may take no longer."""
        if decision.on_end is None:
            return
        with self._lock:
            ends_at = self._clock() + self._hold_seconds
            self._open[(tenant, call.id)] = (ends_at, decision.on_end)

    def leave(self, tenant: str, call_id: str) -> None:
        """Count a call no more."""
        with self._lock:
            found = self._open.pop((tenant, call_id), None)
        if found is not None:
            found[1]()

    def tick(self) -> None:
        """Do what is due about once a second: it waits for authorities, a bounded time."""
        now = self._clock()
        with self._lock:
            over = [key for key, (ends_at, _) in self._open.items() if ends_at <= now]
            beyond = len(self._open) - len(over) - _MOST_OPEN
            over += [key for key in list(self._open) if key not in over][: max(0, beyond)]
            gates = [one for one in self._gates.values() if now - one.used_at < _IDLE_SECONDS]
        for tenant, call_id in over:
            self.leave(tenant, call_id)
        for one in gates:
            one.gate.tick()

    def _forget_some(self) -> None:
        while len(self._gates) > 1 and (
            len(self._gates) > _MOST_GATES
            or sum(one.size for one in self._gates.values()) > _MOST_BYTES
        ):
            self._gates.popitem(last=False)
