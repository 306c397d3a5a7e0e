"""Sends what waits in the outbox: each target by one thread of one server at a time, in order."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from tollspan.ledger.central import CentralLedger, Errand
from tollspan.safety import Guard
from tollspan.server.complaints import Complaint
from tollspan.server.settings import NS_PER_SECOND, ServerSettings
from tollspan.usage import LedgerError, sign_webhook

from .posting import Posted, Poster

_LOOK_EVERY_SECONDS: Final = 0.5
_FORGET_EVERY_SECONDS: Final = 3_600.0
_LONGEST_PAUSE_SECONDS: Final = 3_600.0
_MOST_DOUBLINGS: Final = 16
_MOST_IN_A_ROW: Final = 50
_OF_ONE_TENANT: Final = 2
_CLAIM_MORE_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class SenderFigures(msgspec.Struct):
    """What this server has sent since it began.

    Attributes:
        attempts: By how they ended: `delivered`, `failed`, `dead`.
    """

    attempts: Counter[str] = msgspec.field(default_factory=Counter[str])


class WebhookSender:
    """Threads that send webhooks.

    Args:
        ledger: Has the outbox.
        settings: How many threads, how long a target may take, how soon it is tried again.
        clock: Seconds since the epoch, for signatures.
        jitter: From 0 to 1, by which pauses differ.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        settings: ServerSettings,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = ledger.deliveries
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._name = secrets.token_hex(8)
        self._poster = Poster(
            may_be_private=settings.private_webhooks, seconds=settings.webhook_seconds
        )
        self._claim_seconds = settings.webhook_seconds + _CLAIM_MORE_SECONDS
        self._guard = Guard("server.webhooks")
        self._complaint = Complaint(_log, "webhooks wait, since the ledger can't be used")
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[str, str] = {}
        self._forgot_at = 0.0
        self._threads: list[threading.Thread] = []
        self.figures = SenderFigures()

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._settings.webhook_threads):
            thread = threading.Thread(
                target=self._run, args=(number,), name=f"tollspan-webhooks-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End the threads once they have their answers; what waits goes on waiting."""
        self._ending.set()
        for thread in self._threads:
            thread.join(self._settings.webhook_seconds)

    def _run(self, number: int) -> None:
        while not self._ending.is_set():
            did_something = False
            with self._guard:
                did_something = self._look(tidies=number == 0)
            if not did_something:
                self._ending.wait(_LOOK_EVERY_SECONDS)

    def _look(self, *, tidies: bool) -> bool:
        """Serve one target, if one waits; say whether one was served."""
        try:
            if tidies:
                self._forget()
            for webhook, tenant in self._outbox.due():
                if self._take(webhook, tenant):
                    try:
                        return self._serve(webhook)
                    finally:
                        self._give_back(webhook)
        except LedgerError as error:
            self._complaint.make(error)
        return False

    def _take(self, webhook: str, tenant: str) -> bool:
        """Take a target among the threads here; a tenant's slow ones leave room for others'."""
        with self._lock:
            if webhook in self._busy or list(self._busy.values()).count(tenant) >= _OF_ONE_TENANT:
                return False
            self._busy[webhook] = tenant
            return True

    def _give_back(self, webhook: str) -> None:
        with self._lock:
            self._busy.pop(webhook, None)

    def _serve(self, webhook: str) -> bool:
        """Send what waits for a target until it fails, or others have waited long enough."""
        sent = 0
        sender = f"{self._name}.{secrets.token_hex(4)}"  # a claim is of one go, not of a server
        try:
            while sent < _MOST_IN_A_ROW and not self._ending.is_set():
                if not self._outbox.claim(webhook, sender, seconds=self._claim_seconds):
                    break
                errand = self._outbox.errand(webhook)
                if errand is None or not self._send(errand, sender):
                    break
                sent += 1
        finally:
            self._outbox.release(webhook, sender)
        return sent > 0

    def _send(self, errand: Errand, sender: str) -> bool:
        """Send one thing; say whether the next may follow."""
        body = errand.delivery.body
        posted = self._poster.post(errand.url, body, self._headers(errand, body))
        if not posted.problem:
            self.figures.attempts["delivered"] += 1
            return self._outbox.succeed(errand, sender, status=posted.status or 0)
        state = self._outbox.fail(
            errand, sender, status=posted.status, problem=posted.problem,
            pause_seconds=self._pause(errand, posted),
        )  # fmt: skip
        self.figures.attempts["dead" if state == "dead" else "failed"] += 1
        return False

    def _headers(self, errand: Errand, body: bytes) -> dict[str, str]:
        timestamp = int(self._clock())
        signatures = [f"sha256={sign_webhook(body, one, timestamp)}" for one in errand.secrets]
        return {
            "Content-Type": "application/json",
            "User-Agent": "tollspan",
            "Tollspan-Delivery": errand.delivery.id,
            "Tollspan-Timestamp": str(timestamp),
            "Tollspan-Signature": ",".join(signatures),
        }

    def _pause(self, errand: Errand, posted: Posted) -> float:
        """Return how long to wait: longer each time, differently each time, or as was asked."""
        doubled = self._settings.webhook_pause_seconds * (
            1 << min(errand.failures, _MOST_DOUBLINGS)
        )
        own = min(doubled, _LONGEST_PAUSE_SECONDS) * (1 + self._jitter()) / 2
        return max(own, posted.retry_after_seconds or 0.0)

    def _forget(self) -> None:
        now = time.monotonic()
        if self._forgot_at and now - self._forgot_at < _FORGET_EVERY_SECONDS:
            return
        self._forgot_at = now
        kept = self._settings.webhook_kept_seconds
        self._outbox.forget(int((self._clock() - kept) * NS_PER_SECOND))
