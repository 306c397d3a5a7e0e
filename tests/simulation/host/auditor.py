"""Watches a host: what the provider counted, what the file says, what processes have; and the laws.

It reads the file through a connection of its own, and adds everything up by itself.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tests.simulation.host.by_hand import ByHand
from tests.simulation.host.file import OPEN, UNRESOLVED, File, Key, Place, Row
from tests.simulation.store import drawn
from tests.simulation.world import LawBrokenError, World
from tollspan.budget import Account, GivenBack, Hold, Lease, LeasedLedger, Leg
from tollspan.ledger import LEDGER_FILE
from tollspan.usage import Adjustment, UsageEvent


class Doing(msgspec.Struct):
    """A call that the provider works on, what it costs in each account, and under which lease."""

    hold: Hold
    lease_id: str | None
    costs: list[int]
    is_finishing: bool = False

    def covered(self) -> list[tuple[Key, int]]:
        """Return what it costs in each account, as far as it holds that."""
        return [
            (key_of(account), min(amount, cost))
            for (account, amount), cost in zip(self.hold.legs, self.costs, strict=True)
        ]


class Holder(Protocol):
    """A process that is alive, as far as it matters here."""

    doing: dict[str, Doing]
    leases: LeasedLedger

    @property
    def settling(self) -> set[str]: ...


class Auditor:
    """What everybody said, and the laws.

    Attributes:
        highest: The highest limit that was ever in force, by budget.
        spent: What the provider counted, calls in flight included.
        beyond: What calls cost beyond their holds: a named cause.
        owed: Events that were handed over and are not in the file.
        kept: Calls that have returned to their callers.
        killed: What calls cost that died with their process, as far as they held it.
        stored: Events in the file.
        by_hand: What operators posted.
        accepted: Calls that a provider has accepted as jobs, whether the ledger knows it or not.
        deferred: Those of them that have returned to their callers as jobs.
        jobs: Calls that are jobs by the file, and whose end nobody has told.
        may_give_up: Their horizon is near.
    """

    def __init__(self, world: World, home: Path, soft: frozenset[str]) -> None:
        self._world = world
        self._file = File(home / LEDGER_FILE)
        self._soft = soft
        self.holders: list[Holder] = []
        self.highest: Counter[str] = Counter()
        self.spent: Counter[Key] = Counter()
        self.beyond: Counter[Key] = Counter()
        self.owed: dict[str, UsageEvent] = {}
        self.kept: set[str] = set()
        self.killed: dict[str, Doing] = {}
        self.stored: dict[str, UsageEvent] = {}
        self.by_hand = ByHand()
        self.accepted: dict[str, Doing] = {}
        self.deferred: set[str] = set()
        self.jobs: set[str] = set()
        self.may_give_up = False
        self.posted: Counter[Key] = Counter()
        self.open: Counter[Key] = Counter()
        self.admitted = 0
        self.broken: LawBrokenError | None = None

    # -- what is said --

    def held(self, hold: Hold, legs: Sequence[Leg]) -> None:
        """Check a hold that has just been made: in every account, and within its limit."""
        rows = self._file.rows()
        for account, amount in legs:
            row = rows.get((hold.call_id, key_of(account)))
            self._law(row is not None or hold.call_id in self.stored, "a hold is in every account")
            self._law(row is None or row.amount == amount, "a hold is what was asked for")
        self._fits([account for account, _ in legs])

    def granted(self, lease: Lease, accounts: Sequence[Account]) -> None:
        """Check a grant that has just been made."""
        self._world.happens("    %s is granted", lease.id)
        self._fits(accounts)

    def given_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        """Note what goes back."""
        said = [(one.account.budget_id, one.amount, one.total, one.is_last) for one in parts]
        self._world.happens("    %s gives back %s", lease.id, said)

    def refused(self, call_id: str) -> None:
        """Check that nothing is held for a call that was refused."""
        held = [key for (name, key), _ in self._file.rows().items() if name == call_id]
        self._law(not held, "a refusal holds nothing")

    def _fits(self, accounts: Sequence[Account]) -> None:
        sums = self._file.sums()
        for account in accounts:
            key = key_of(account)
            if key[0] not in self._soft:
                self._law(
                    sum(sums[key]) <= account.limit, "what is held fits the limit that it goes by"
                )

    def is_admitted(self, call_id: str, lease: Lease) -> None:
        """Note that a call was let through by a lease."""
        self._world.happens("  %s is admitted under %s", call_id, lease.id)

    def is_made(self, doing: Doing) -> None:
        """Count a call that the provider works on."""
        self.admitted += 1
        for (account, amount), cost in zip(doing.hold.legs, doing.costs, strict=True):
            self.spent[key_of(account)] += cost
            self.beyond[key_of(account)] += max(0, cost - amount)

    def handed_over(self, event: UsageEvent) -> None:
        """Note an event that is to be stored; what it takes out of its lease is owed until then."""
        if event.call.id not in self.stored:  # else another has told of the same job before
            self.owed.setdefault(event.call.id, event)

    def is_kept(self, call_id: str) -> None:
        """Note that a call returns: its event must survive whatever comes."""
        self.kept.add(call_id)

    def is_accepted(self, doing: Doing) -> None:
        """Note that a provider has accepted a call as a job."""
        self.accepted[doing.hold.call_id] = doing

    def is_deferred(self, call_id: str) -> None:
        """Note that a call returns as a job: what it holds must survive whatever comes."""
        self.deferred.add(call_id)

    def is_gone(self, holder: Holder) -> None:
        """Note that a process is gone, and which of its calls nobody will tell of."""
        self.holders.remove(holder)
        self.killed.update(holder.doing)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read_news(self) -> None:
        """Add up what was stored since the last time."""
        for name, fact in self._file.news():
            self._world.happens("    the event of %s is stored", name)
            if isinstance(fact, Adjustment):
                self.by_hand.count(fact)
                for settled in filter(None, (fact.call_id, fact.lease_id)):
                    self._is_settled_by_hand(settled)
            else:
                assert isinstance(fact, UsageEvent)
                self._law(name not in self.stored, "an event is stored once")
                self.stored[name] = fact
                self.owed.pop(name, None)
            for charge in fact.charges:
                key = (charge.budget_id, charge.scope, charge.period, charge.unit)
                self.posted[key] += charge.posted
                self.open[key] += charge.unresolved

    def _is_settled_by_hand(self, name: str) -> None:
        """Note that an operator has said what a call cost that died, or calls of a lease."""
        for call_id, doing in list(self.killed.items()):
            if name in (call_id, doing.lease_id):
                del self.killed[call_id]

    # -- laws --

    def check(self) -> None:
        """Check what must hold after every step."""
        if self.broken is not None:
            raise self.broken
        with self._file.one_instant():
            self._read_news()
            sums, rows = self._file.sums(), self._file.rows()
            self.jobs = self._file.jobs()
        self._check_sums(sums, rows)
        for place, amount in self._used().items():
            held = rows[place].amount if place in rows else 0
            if amount > held:
                self._law(
                    False, f"no process has more than is held for it: {place} {amount} {held}"
                )
        self._check_single_holds(rows)
        self._check_jobs(rows)
        for key, spent in self.spent.items():
            if key[0] not in self._soft:
                self._law(
                    spent <= self.highest[key[0]] + self.beyond[key] + self.by_hand.most[key],
                    "the provider counts no more than the highest limit and what is named",
                )

    def _check_sums(self, sums: dict[Key, tuple[int, int, int]], rows: dict[Place, Row]) -> None:
        held, left = Counter[Key](), Counter[Key]()
        for (_, key), row in rows.items():
            self._law(row.amount >= 0, "nothing less than nothing is held")
            (left if row.state == UNRESOLVED else held)[key] += row.amount
        for key, (posted, is_held, unresolved) in sums.items():
            self._law(
                is_held == held[key], "what is held is in the holds of who lives, and of jobs"
            )
            self._law(
                unresolved == left[key] + self.open[key],
                "what is unresolved is of holds of the dead, and of events that say so",
            )
            self._law(
                posted == self.posted[key], "what is posted is of events and operators, each once"
            )
            if key[0] not in self._soft:
                named = self.beyond[key] + self.by_hand.lowered[key]
                self._law(
                    posted + is_held + unresolved <= self.highest[key[0]] + named,
                    "no more is counted than the highest limit and what is named",
                )

    def _used(self) -> Counter[Place]:
        """Return what was and may still be spent of each lease, and is not stored."""
        used: Counter[Place] = Counter()
        for call_id, event in self.owed.items():
            if event.lease_id is not None and call_id not in self.killed:
                for key, amount in drawn(event):
                    used[event.lease_id, key] += amount
        for call_id, doing in self.killed.items():
            if doing.lease_id is not None and not self._holds_no_more(call_id):
                for key, cost in doing.covered():
                    used[doing.lease_id, key] += cost
        for holder in self.holders:
            self._add_what_is_leased(used, holder)
        return used

    def _add_what_is_leased(self, used: Counter[Place], holder: Holder) -> None:
        escrow = holder.leases._escrow
        for call_id, opened in escrow._open.items():
            if not (self._holds_no_more(call_id) or call_id in self.owed):
                for part, amount in zip(opened.parts, opened.amounts, strict=True):
                    used[opened.lease.id, key_of(part.account)] += amount
        if escrow.lease is not None:
            for name, part in escrow._names.items():
                self._law(part.left >= 0, "no lease has less than nothing left")
                used[escrow.lease.id, name] += part.left

    def _check_single_holds(self, rows: dict[Place, Row]) -> None:
        """Check that calls in flight hold what they asked for, until their events are stored."""
        for is_alive, calls in (
            (False, self.killed),
            *((True, one.doing) for one in self.holders),
        ):
            for call_id, doing in calls.items():
                if doing.lease_id is not None or self._holds_no_more(call_id):
                    continue
                for account, amount in doing.hold.legs:
                    row = rows.get((call_id, key_of(account)))
                    self._law(row is not None, "a call in flight holds in every account")
                    if row is not None:
                        self._law(row.amount == amount, "a call in flight holds what it asked for")
                        self._law(
                            row.state == OPEN or not is_alive, "a process that lives is not buried"
                        )

    def _holds_no_more(self, call_id: str) -> bool:
        """Say whether a call holds nothing as a call of its process: it is over, or a job."""
        return call_id in self.stored or call_id in self.jobs or call_id in self.by_hand.settled

    def _check_jobs(self, rows: dict[Place, Row]) -> None:
        """Check that jobs hold what their calls held, whoever lives, until their end is told."""
        for call_id in self.jobs:
            self._law(call_id not in self.stored, "a job whose end is told is no job any more")
            for account, amount in self.accepted[call_id].hold.legs:
                row = rows.get((call_id, key_of(account)))
                self._law(row is not None, "a job holds in every account")
                if row is not None:
                    self._law(row.amount == amount, "a job holds what its call held")
                    self._law(row.state != OPEN, "a job is nobody's to bury")
                    is_given_up = row.state == UNRESOLVED
                    self._law(self.may_give_up or not is_given_up, "a job outlives its process")
        for call_id in self.deferred:
            self._law(self._holds_no_more(call_id), "no job that was accepted is forgotten")

    def check_the_end(self, *, is_calm: bool) -> None:
        """Check that all adds up once everybody has ended."""
        self.check()
        sums, rows = self._file.sums(), self._file.rows()
        self._law(
            not any(row.state != UNRESOLVED for row in rows.values()), "nothing is held at the end"
        )
        self._law(not self.kept - set(self.stored), "no call that returned has lost its event")
        lost = set(self.owed)
        self._law(not lost & self.kept, "no event that was kept is lost")
        covered: Counter[Key] = Counter()
        untold = {**self.killed, **{call_id: self.accepted[call_id] for call_id in self.jobs}}
        for call_id, doing in untold.items():
            if call_id not in self.stored:
                for key, cost in doing.covered():
                    covered[key] += cost
        for key, (posted, _, unresolved) in sums.items():
            self._law(
                covered[key] <= unresolved - self.open[key],
                "what was killed, and jobs that were given up, are counted as unresolved",
            )
            self._law(
                posted + self.by_hand.granted[key] + unresolved + self.beyond[key]
                >= self.spent[key],
                "what the provider counted is counted",
            )
        if is_calm:
            self._law(not rows and not lost, "nothing is left where nothing went wrong")
            for key, (posted, _, _) in sums.items():
                spent = posted + self.by_hand.granted[key]
                self._law(spent == self.spent[key], "what is posted is what the provider counted")

    def _law(self, is_kept: bool, law: str) -> None:
        if not is_kept:
            self.broken = self.broken or LawBrokenError(law)  # a guard may keep it to itself
            with contextlib.suppress(IndexError):
                raise self.broken


def key_of(account: Account) -> Key:
    """Return what names an account."""
    return account.budget_id, account.scope, account.period, account.unit
