"""Somebody at the command line: raises, sets and resets budgets, and settles by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.contract.ledger.making import charge
from tests.simulation.host.auditor import Auditor, Doing, key_of
from tests.simulation.host.ground import Actor, Disk, SimulatedLedger
from tests.simulation.host.plan import Plan
from tests.simulation.rules import Rules
from tests.simulation.world import NANO, NOON_UNIX_NS, Killed, World
from tollspan.budget import Account
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import Adjustment, AdjustmentAction, Charge, LedgerError


class Operator:
    """An operator, who tells the truth, and speaks of nothing that a process is about to tell.

    Args:
        world, plan, auditor, home, disk: What he lives in.
        running: Who runs just now, the innermost last.
        name: That no other command has.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        auditor: Auditor,
        home: Path,
        disk: Disk,
        running: list[Actor],
        *,
        name: str,
    ) -> None:
        self._world, self._plan, self._auditor = world, plan, auditor
        self._home, self._disk, self._running = home, disk, running
        self._name = name
        self.is_alive = True
        self._is_in_a_step = False
        self.ledger = SimulatedLedger(home, world, self, auditor)

    # -- as a process --

    def run(self, work: Callable[[], object]) -> None:
        """Do some work; what can't be done now is not done."""
        if self._is_in_a_step:
            self._world.at(0.002, lambda: self.run(work))
            return
        self._running.append(self)
        try:
            with contextlib.suppress(LedgerError, Killed):
                work()
        finally:
            self._running.pop()

    def interrupt(self, statement: str) -> None:
        """Give way to others before a statement, now and then; a full disk takes nothing.

        Raises:
            sqlite3.OperationalError: The disk is full.
        """
        if self._world.is_likely(self._plan.pauses) and not self._is_in_a_step:
            self._is_in_a_step = True
            try:
                self._world.wait(self._world.chance.choice([0.0, 0.001, 0.02]))
            finally:
                self._is_in_a_step = False
        self._disk.take(statement)

    # -- commands --

    def act(self, rules: Rules) -> None:
        """Do one of the things that operators do, with a command of its own."""
        chance = self._world.chance
        what = chance.choice([self._adjust, self._resolve, self._settle_a_job])
        self.run(lambda: what(rules))
        self.run(self.ledger.close)

    def _adjust(self, rules: Rules) -> None:
        """Look how an account stands, and post what leaves it what it is to have."""
        chance = self._world.chance
        action: AdjustmentAction = chance.choice(["raise", "set", "reset"])
        account = rules.account(self._world, chance.choice(sorted(rules.limits)))
        by = chance.randint(0, 4) * (1 if account.unit == "calls" else rules.mean)
        (balance,) = self.ledger.balances([account])
        posted = {
            "raise": -by,
            "set": account.limit - balance.counted - by,
            "reset": -balance.posted,
        }[action]
        self._world.happens("an operator: %s %s: %s", action, account.budget_id, posted)
        self._post(action, [charge(account, posted=posted)])

    def _resolve(self, _: Rules) -> None:
        """Say what of that was spent which dead processes left, or jobs that were given up."""
        left: dict[str, list[tuple[Account, int]]] = {}
        for one in LedgerReader(self._home / LEDGER_FILE).open_holds():
            if one.is_unresolved and not self._is_spoken_of(one.call_id):
                left.setdefault(one.call_id, []).append((one.account, one.amount))
        if not left:
            return
        name = self._world.chance.choice(sorted(left))
        spent = self._spent(name)
        self._world.happens("an operator says what %s spent: %s", name, spent)
        charges = [
            Charge(
                budget_id=account.budget_id,
                scope=account.scope,
                period=account.period,
                unit=account.unit,
                posted=spent.get(key_of(account), 0),
                drawn=amount,
            )
            for account, amount in left[name]
        ]
        self._post("resolve", charges, lease_id=name)

    def _settle_a_job(self, _: Rules) -> None:
        """Say what a job cost whose end nobody has seen."""
        jobs = LedgerReader(self._home / LEDGER_FILE).jobs()
        found = [one.call.id for one in jobs if not self._is_spoken_of(one.call.id)]
        if not found:
            return
        doing = self._auditor.accepted[self._world.chance.choice(found)]
        self._world.happens("an operator settles the job of %s", doing.hold.call_id)
        charges = [
            charge(account, posted=cost)
            for (account, _), cost in zip(doing.hold.legs, doing.costs, strict=True)
        ]
        self._post("resolve", charges, call_id=doing.hold.call_id)

    def _is_spoken_of(self, name: str) -> bool:
        """Say whether an event is on its way that says what a call, or a lease, has spent."""
        auditor = self._auditor
        if any(name in (call_id, one.lease_id) for call_id, one in auditor.owed.items()):
            return True
        return any(name in one.doing or name in one.settling for one in auditor.holders)

    def _spent(self, name: str) -> dict[tuple[str, str, str, str], int]:
        """Return what calls cost of which nobody will tell, as far as it was held for them."""
        spent: dict[tuple[str, str, str, str], int] = {}
        for doing in self._untold(name):
            for key, cost in doing.covered():
                spent[key] = spent.get(key, 0) + cost
        return spent

    def _untold(self, name: str) -> list[Doing]:
        auditor = self._auditor
        if name in auditor.jobs:
            return [auditor.accepted[name]]
        return [
            one
            for call_id, one in auditor.killed.items()
            if name in (call_id, one.lease_id)
            and call_id not in auditor.stored
            and call_id not in auditor.jobs
        ]

    def _post(
        self,
        action: AdjustmentAction,
        charges: Sequence[Charge],
        *,
        lease_id: str | None = None,
        call_id: str | None = None,
    ) -> None:
        made = Adjustment(
            id=self._name,
            at_unix_ns=NOON_UNIX_NS + int(self._world.now * NANO),
            action=action,
            author="operator",
            charges=tuple(charges),
            lease_id=lease_id,
            call_id=call_id,
        )
        self.ledger.adjust(made)
        if self._world.is_likely(0.1):  # a proxy, or he himself, sends the same once more
            self.ledger.adjust(made)
