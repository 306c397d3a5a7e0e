"""A thread that keeps the books small: in pieces, by one replica at a time, beside all else."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from tollspan.ledger.central import CentralLedger, Month
from tollspan.pricing import PriceBook
from tollspan.reports import KeptPart, kept_parts
from tollspan.usage import LedgerError, UsageEvent, rfc3339

from .settings import NS_PER_SECOND, ServerSettings

WORK: Final = "housekeeping"
_log = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 60.0
_CLAIM_SECONDS: Final = 300.0
_RENEW_SECONDS: Final = 60.0
_REST: Final = 4.0  # times as long as a piece took: who stores has most of the database
_SHORTEST_REST_SECONDS: Final = 0.01
_SLACK_SECONDS: Final = 86_400
_STOP_SECONDS: Final = 20.0
_STILL_TAKEN_NS: Final = 37 * 86_400 * NS_PER_SECOND
_AHEAD_NS: Final = 31 * 86_400 * NS_PER_SECOND


class Housekeeper:
    """Forgets what can't be needed any more, until it is stopped.

    Args:
        ledger: The books.
        settings: What the server takes, and so what it has to remember.
        book: The prices by which costs of old events are taken apart; None for those that ship
            with tollspan.
        every_seconds: How often it looks.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        settings: ServerSettings,
        *,
        book: PriceBook | None = None,
        every_seconds: float = _EVERY_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._book = book
        self._every_seconds = every_seconds
        self._clock = clock
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tollspan-housekeeping", daemon=True)
        self._trouble: str | None = None
        self._tidied_unix_ns = 0

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece that is being done, and let another replica go on."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def state(self) -> str:
        """Return `ok`, or what is wrong; never what is in the books."""
        if self._thread.ident is not None and not self._thread.is_alive():
            return "stopped"
        return self._trouble or "ok"

    def tidied(self) -> int:
        """Return when all was done here last, in nanoseconds since the epoch; 0 for never."""
        return self._tidied_unix_ns

    def tidy(self) -> bool:
        """Do all that there is to do now, if no other replica does; say whether it was done.

        Raises:
            LedgerError: A piece failed; those before it are done.
        """
        claims = self._ledger.claims
        if not claims.take(WORK, self._holder, seconds=_CLAIM_SECONDS):
            return False
        renewed = began = time.monotonic()
        for _ in self._pieces():
            now = time.monotonic()
            if now - renewed > _RENEW_SECONDS:
                claims.take(WORK, self._holder, seconds=_CLAIM_SECONDS)
                renewed = now
            if self._is_stopping.wait(max(_SHORTEST_REST_SECONDS, _REST * (now - began))):
                break
            began = time.monotonic()
        if self._is_stopping.is_set():
            return False
        self._tidied_unix_ns = self._clock()
        return True

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._try()
            self._is_stopping.wait(self._every_seconds)
        self._release()

    def _try(self) -> None:
        try:
            self.tidy()
        except LedgerError as error:
            if self._trouble is None:
                self._trouble = f"failing since {rfc3339(self._clock())}: {type(error).__name__}"
            _log.warning("housekeeping failed, and is tried again: %s", error)
            return
        if self._trouble is not None:
            _log.warning("housekeeping works again")
        self._trouble = None

    def _release(self) -> None:
        try:
            self._ledger.claims.release(WORK, self._holder)
        except LedgerError as error:  # the claim ends by itself
            _log.warning("housekeeping could not end in order: %s", error)

    def _pieces(self) -> Iterator[None]:
        """Do one piece of work after the other."""
        now = self._clock()
        self._ledger.partitions.make_for((now, now + _AHEAD_NS))
        yield
        self._ledger.receipts.forget(self._clock())
        yield
        while self._ledger.forget_names(self._clock() - self._remembered_ns):
            yield
        audited_from = self._keep_from(self._settings.keep_audit_months)
        while audited_from is not None and self._ledger.audit.forget(audited_from.start_ns):
            yield
        keep_from = self._keep_from(self._settings.keep_months)
        while keep_from is not None and self._ledger.retention.step(keep_from, self._take_apart):
            yield

    def _keep_from(self, months: int | None) -> Month | None:
        """Return the first month whose events are kept; what may still come in is never older."""
        if months is None:
            return None
        now = self._clock()
        still_taken = now - max(self._remembered_ns, _STILL_TAKEN_NS)
        return min(Month.of(now).earlier(months), Month.of(still_taken))

    def _take_apart(self, event: UsageEvent) -> list[KeptPart]:
        if self._book is None:
            self._book = PriceBook.load()
        return kept_parts(event, self._book)

    @property
    def _remembered_ns(self) -> int:
        """How long an event may still be sent again, and one day."""
        return (self._settings.oldest_seconds + _SLACK_SECONDS) * NS_PER_SECOND
