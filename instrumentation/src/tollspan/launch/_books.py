"""Sets up the books and the gate over them: who holds the money, and when leases take over."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from tollspan import attribution
from tollspan.budget import (
    Allowance,
    AllowedLedger,
    Authority,
    Books,
    BudgetGate,
    JobCloser,
    LeasedLedger,
    LeaseState,
    Milestones,
    NoAuthority,
    RuleSet,
    SharedAuthority,
    Standing,
    Unresolved,
    UnresolvedReason,
)
from tollspan.exporter import HttpAuthority, SettlingBooks, authority_at
from tollspan.ledger import SQLiteLedger, name_of
from tollspan.pricing import PriceBook
from tollspan.usage import ConfigError, TollspanError

from ._memory_books import MemoryBooks
from ._settings import Settings
from ._shipping import room_of, shipper_of

_LAST_SHIPPING_SECONDS = 2.0
_logger = logging.getLogger("tollspan.launch")


class BooksInForce:
    """The books of one process, and who decides and accounts by them.

    Attributes:
        ledger: Keeps the events of this host.
        gate, sink: Decide and account.
        standing: Says how accounts stand.
        milestones: Remembers what was told.
        problem: Why the authority can't be had; None when it can.

    Args:
        settings: As read.
        book: What calls cost.
    """

    def __init__(self, settings: Settings, book: PriceBook) -> None:
        self._settings = settings
        self.ledger = SQLiteLedger(
            settings.ledger_home,
            wait_seconds=settings.acquire_timeout_seconds,
            is_durable=settings.is_durable,
        )
        self.ledger.room = room_of(settings)
        self.ledger.job_horizon_seconds = settings.job_horizon_seconds
        self.gate = BudgetGate(
            RuleSet(),
            book,
            self.ledger,
            acquire_timeout_seconds=settings.acquire_timeout_seconds,
            mode=settings.mode,
            agents=attribution.agents,
        )
        self.sink = JobCloser(book, self.ledger)
        self._shared: SharedAuthority | None = None
        self._settling: SettlingBooks | None = None
        self._memory: MemoryBooks | None = None
        self.leases: LeasedLedger | None = None
        self._is_leasing = False
        self.allowed: AllowedLedger | None = None
        self._deciding: tuple[Authority, Books] = (self.ledger, self.ledger)
        self.shipper = shipper_of(settings, self.ledger)
        self.problem: TollspanError | None = None
        self.standing: Standing = self.ledger
        self.milestones: Milestones = self.ledger
        if settings.authority == "memory:":
            memory = self._memory = MemoryBooks(self.ledger)
            self.standing = self.milestones = memory
            self._decide_by(memory, memory)
        elif settings.authority != "sqlite:":
            try:
                self._share(settings.authority)
            except ConfigError as error:
                _logger.error("tollspan has no authority: %s", error)  # noqa: TRY400 - no bug
                self.gate.ask(NoAuthority(error))
                self.problem = error
        else:
            self.leases = LeasedLedger(
                self.ledger,
                self.ledger,
                self.ledger,
                holder=self.ledger.holder,
                settings=settings.lease,
            )
            self._begin()

    def prepare(self) -> None:
        """Connect to an authority over HTTP before the first call does, in a thread of its own.

        Its client takes about as long to load as a call may wait.
        """
        shared = self._shared
        if isinstance(shared, HttpAuthority):
            with contextlib.suppress(RuntimeError):  # no thread to be had: the first call connects
                threading.Thread(
                    target=shared.prepare, name="tollspan-connecting", daemon=True
                ).start()

    def watch_unresolved(
        self, tell: Callable[[UnresolvedReason, Sequence[Unresolved]], None]
    ) -> None:
        """Have it told what dead processes and ended leases leave unresolved; from any thread."""
        self.ledger.on_unresolved = partial(tell, "process")
        if self._settling is not None:
            self._settling.watch(partial(tell, "lease"))

    def lease_state(self) -> LeaseState | None:
        """Return how this process's leases stand; None while it decides without."""
        leases = self.leases
        return leases.state() if leases is not None and self._is_leasing else None

    def unsettled(self) -> int | None:
        """Count this host's events that its shared authority was not told yet; None without one.

        Raises:
            LedgerError: The ledger can't be read.
        """
        return None if self._settling is None else self._settling.waiting()

    def use(self, rules: RuleSet, no_prices: TollspanError | None) -> None:
        """Put rules in force, and have ready what they let be spent in an outage.

        Args:
            rules: The rules.
            no_prices: Why there are no prices; None when there are.
        """
        rule = rules.on_unavailable
        allowance = (
            rule if isinstance(rule, Allowance) and self._settings.mode == "enforce" else None
        )
        if allowance is not None and self.allowed is None and self.leases is not None:
            self._allow()
        if self.allowed is not None:
            self.allowed.use(allowance)
        self.gate.use(rules, no_prices=no_prices if rule != "allow" else None)

    def heed(self) -> None:
        """Refuse what the server to which events go says is used up, if that has changed."""
        heeder = None if self.shipper is None else self.shipper.heeder
        flags = None if heeder is None else heeder.look()
        if flags is not None:
            self.gate.flag(flags)

    def tick(self) -> None:
        """Do what is due about once a second."""
        if self.shipper is not None:
            self.shipper.start()
            self.heed()
        if self.leases is not None:
            self.leases.tick()
        if self.allowed is not None:
            self.allowed.tick()
        self.gate.tick()
        if self._memory is not None:
            self._memory.tick()

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's leases stay the parent's, and so does what made it lease."""
        if self._shared is not None:
            self._shared.close()
        if self._settling is not None:
            self._settling.after_fork_in_child()
        if self.shipper is not None:
            self.shipper.after_fork_in_child()
        if self.allowed is not None:
            self.allowed.forget()
        if self.leases is not None:
            self.leases.forget()
            if self._shared is None:
                self._decide_by(self.ledger, self.ledger)
                self._begin()

    def close(self, wait_seconds: float) -> None:
        """Settle what is stored, give back what is left of leases, and close everything."""
        if self._settling is not None:
            self._settling.close(wait_seconds)
        if self.leases is not None:
            self.leases.close(wait_seconds)
        if self.allowed is not None:
            self.allowed.close(wait_seconds)
        if self._shared is not None:
            self._shared.close()
        if self.shipper is not None:
            self.shipper.close(min(wait_seconds, _LAST_SHIPPING_SECONDS))
        self.gate.close(wait_seconds)
        self.ledger.close()

    def _share(self, address: str) -> None:
        """Decide from leases of an authority of many hosts; events stay on this one."""
        shared = authority_at(address, self._settings.lease, key=self._settings.api_key)
        settling = SettlingBooks(self.ledger, shared, name=name_of(address))
        self.ledger.room = msgspec.structs.replace(self.ledger.room, authority=settling.name)
        lease = self._settings.lease
        if self._settings.leases == "never":
            lease = msgspec.structs.replace(lease, first=1, most=1)
        self.leases = LeasedLedger(
            shared,
            settling,
            holder=lambda: secrets.token_hex(8),
            settings=lease,
            is_open=lambda: shared.epoch() is not None,
        )
        self._shared, self._settling = shared, settling
        self.standing = self.milestones = shared
        self._decide_by(self.leases, self.leases)

    def _begin(self) -> None:
        if self._settings.leases == "always":
            self._lease()
        elif self._settings.leases == "auto":
            self.ledger.on_contention = self._lease

    def _lease(self) -> None:
        """Decide from leases from here on."""
        if self.leases is not None:
            self._decide_by(self.leases, self.leases)

    def _allow(self) -> None:
        """Ask for slices of allowances from here on, with what decides."""
        authority, books = self._deciding
        shared = self._shared
        self.allowed = AllowedLedger(
            authority,
            books,
            shared or self.ledger,
            self._settling or self.ledger,
            settle=None if shared is None else shared.settle,
        )
        self._decide_by(authority, books)

    def _decide_by(self, authority: Authority, books: Books) -> None:
        self._is_leasing = authority is self.leases
        self._deciding = (authority, books)
        allowed = self.allowed
        has_room = self.leases.has_room if self.leases is not None and self._is_leasing else None
        if allowed is None:
            self.sink.post_to(books)  # first: what is held from a lease is settled with it
            self.gate.ask(authority, has_room=has_room)
        else:
            allowed.decide_by(authority, books)
            self.sink.post_to(allowed)
            self.gate.ask(allowed, allowed, has_room)


def set_up_books(settings: Settings, book: PriceBook) -> BooksInForce:
    """Set up the books; a gate that enforces nothing is on the record."""
    books = BooksInForce(settings, book)
    if settings.mode != "enforce":
        _logger.warning("tollspan's budgets stop nothing: TOLLSPAN_MODE is %s", settings.mode)
        books.ledger.sight("mode", settings.mode)
    return books
