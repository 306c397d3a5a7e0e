"""Sets up the books and the gate over them: who holds the money, and when leases take over."""

from __future__ import annotations

import logging

from tollspan.budget import BudgetGate, Closer, LeasedLedger, LeaseSettings, RuleSet
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook

from ._settings import Settings

_logger = logging.getLogger("tollspan.launch")


class BooksInForce:
    """The books of one process, and who decides and accounts by them.

    Args:
        settings: As read.
        book: What calls cost.
    """

    def __init__(self, settings: Settings, book: PriceBook) -> None:
        self._when = settings.leases
        self.ledger = SQLiteLedger(
            settings.home,
            wait_seconds=settings.acquire_timeout_seconds,
            is_durable=settings.is_durable,
        )
        self.gate = BudgetGate(
            RuleSet(),
            book,
            self.ledger,
            acquire_timeout_seconds=settings.acquire_timeout_seconds,
            mode=settings.mode,
        )
        self.sink = Closer(book, self.ledger)
        self.leases = LeasedLedger(
            self.ledger,
            self.ledger,
            self.ledger,
            holder=self.ledger.holder,
            settings=LeaseSettings(wait_seconds=settings.acquire_timeout_seconds),
        )
        self._begin()

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's leases stay the parent's, and so does what made it lease."""
        self.leases.forget()
        self.gate.ask(self.ledger)
        self.sink.post_to(self.ledger)
        self._begin()

    def _begin(self) -> None:
        if self._when == "always":
            self._lease()
        elif self._when == "auto":
            self.ledger.on_contention = self._lease

    def _lease(self) -> None:
        """Decide from leases from here on."""
        self.sink.post_to(self.leases)  # first: what is held from a lease is settled with it
        self.gate.ask(self.leases)


def set_up_books(settings: Settings, book: PriceBook) -> BooksInForce:
    """Set up the books; a gate that enforces nothing is on the record."""
    books = BooksInForce(settings, book)
    if settings.mode != "enforce":
        _logger.warning("tollspan's budgets stop nothing: TOLLSPAN_MODE is %s", settings.mode)
        books.ledger.sight("mode", settings.mode)
    return books
