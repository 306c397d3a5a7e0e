"""Sends the ledger's events to the ingest API: each at least once, so that it is counted once.

The ledger is the outbox. Nothing here is in a caller's way, and nothing that a server does or says
loses an event: what it has taken or refused for good is noted event by event, all else is sent
again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from tollspan.ledger import DeadLetter, Shipment, SQLiteLedger, Waits, replace_file
from tollspan.safety import Guard
from tollspan.usage import EventVerdict, Fact, LedgerError, TollspanError, event_id

from ._addresses import destination_of

if TYPE_CHECKING:
    from ._heeding import Heeder
    from ._http import HttpClient

MOST_EVENTS: Final = 500
_LOOK_EVERY_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 10.0
_SHORTEST_SECONDS: Final = 0.1
_ANSWER_SHARE: Final = 0.75
_LONGEST_ANSWER: Final = 4 << 20
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_LOG_EVERY_SECONDS: Final = 60.0
_NOT_YET_SECONDS: Final = 10.0
_TENANT_FILE: Final = "tenant"
_logger = logging.getLogger("tollspan.exporter")


class ShippingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How sending goes, as far as this host knows.

    Attributes:
        destination: The server.
        waits: What is left to send; None where the ledger can't say.
        problem: Why the last batch was not taken; None when all is well.
        sent_at_unix_ns: When a batch was taken last; 0 for never.
        exceeded: How many accounts are used up there.
    """

    destination: str
    waits: Waits | None = None
    problem: str | None = None
    sent_at_unix_ns: int = 0
    exceeded: int = 0


class ShippingFigures(msgspec.Struct):
    """What this process has sent since it began.

    Attributes:
        sent: Events that the server took, or had.
        rejected: Events that it refused for good.
        failures: Why batches were not taken → how many were not: a kind of `HttpError`, or
            `wrong_tenant`, or `ledger`.
    """

    sent: int = 0
    rejected: int = 0
    failures: dict[str, int] = {}


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What one process leaves for others to see."""

    problem: str | None = None
    sent_at_unix_ns: int = 0


_kept = msgspec.json.Decoder(_Kept)


class _Waiting(msgspec.Struct, frozen=True):
    """What is to be sent next.

    Attributes:
        facts: In their order.
        numbers: Theirs in the ledger; None for what was refused before.
        inode: Of the file that has them.
    """

    facts: Sequence[Fact]
    numbers: Sequence[int] | None
    inode: int


class WrongTenantError(TollspanError):
    """The key is another tenant's than the ledger's events."""

    kind = "wrong_tenant"


class Shipper:
    """Sends what a host's processes store, from one process at a time.

    Args:
        ledger: The outbox.
        endpoint: The server's address, without `/v1/…`.
        key: Says whose events these are.
        most_events: How many one batch has at most.
        look_every_seconds: How long an event may wait for others to go with.
        clock: Unix nanoseconds.
        heeder: Takes what the server tells besides; None to pass over that.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        endpoint: str,
        key: str,
        *,
        heeder: Heeder | None = None,
        most_events: int = MOST_EVENTS,
        look_every_seconds: float = _LOOK_EVERY_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ledger = ledger
        self._outbox = ledger.outbox
        self._endpoint = endpoint.rstrip("/")
        self._key = key
        self._most_allowed = self._most = most_events
        self._look_every_seconds = look_every_seconds
        self._clock = clock
        self.heeder = heeder
        self._state = ledger.home / "run" / "shipping.json"
        self._guard = Guard("exporter.shipping")
        self._tenant: str | None = None
        self._begin()

    def _begin(self) -> None:
        self.figures = ShippingFigures()
        self._starting = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._stop_at = math.inf
        self._logged_at = -_LOG_EVERY_SECONDS
        self._not_yet_until = 0.0

    @property
    def destination(self) -> str:
        """The server, as it is shown and noted: without what may be a secret."""
        return destination_of(self._endpoint)

    # -- sending --

    def ship(self) -> int:
        """Send what waits; return how many events the server has taken.

        Another process of the host that is at it sends for all; then nothing is done here. After
        `close` no further batch is begun once its time is over.

        Raises:
            HttpError: The server does not take them now.
            WrongTenantError: The key is another tenant's.
            LedgerError: The ledger can't be read.
        """
        if not self._outbox.inode():
            return 0  # nothing ran yet
        with self._ledger.alone("shipping") as is_alone:
            if not is_alone:
                return 0
            try:
                done = self._ship_all()
            except TollspanError as error:
                kind = getattr(error, "kind", "ledger")
                self.figures.failures[kind] = self.figures.failures.get(kind, 0) + 1
                self._keep(str(error))
                raise
            self._keep(None, has_sent=done > 0)
            return done

    def _ship_all(self) -> int:
        """Send batch by batch; the server is asked nothing while nothing waits."""
        batch = self._waiting()
        if batch is None:
            return 0
        from ._http import HttpClient  # noqa: PLC0415 - only who sends pays for HTTP

        waits = self._outbox.waits(self.destination)
        # At the end there is to be time left to say why.
        left = max(_SHORTEST_SECONDS, (self._stop_at - time.monotonic()) * _ANSWER_SHARE)
        client = HttpClient(
            self._key, timeout_seconds=min(_TIMEOUT_SECONDS, left), most_bytes=_LONGEST_ANSWER
        )
        done = 0
        try:
            while batch is not None and time.monotonic() < self._stop_at:
                done += self._send(client, batch, waits.count - done, waits.dead)
                batch = self._waiting()
        finally:
            client.close()
        return done

    def _waiting(self) -> _Waiting | None:
        """Return what is to be sent next: what was refused and is wanted again, then the rest.

        What was refused as of the future waits for nobody: a clock here or there was wrong.
        """
        inode = self._outbox.inode()
        wanted = self._outbox.wanted(self.destination, self._most)
        if not wanted and time.monotonic() >= self._not_yet_until:
            wanted = self._outbox.not_yet(self.destination, self._most)
        if wanted:
            return _Waiting(wanted, None, inode)
        numbered = self._outbox.next_facts(self.destination, self._most)
        if not numbered:
            return None
        return _Waiting([fact for _, fact in numbered], [number for number, _ in numbered], inode)

    def _send(self, client: HttpClient, waiting: _Waiting, left: int, dead: int) -> int:
        """Send what fits into a batch, and note what became of it; return how many were taken."""
        from ._batches import Taken, TooMuchError, cut, send  # noqa: PLC0415 - as above

        tenant = self._whose(client)
        batch = cut(waiting.facts, self._most)
        try:
            left = max(0, left - len(batch))
            taken = send(client, self._endpoint, tenant, batch, waiting=left, dead=dead)
            self._most = min(self._most_allowed, self._most * 2)
        except TooMuchError as error:
            if len(batch) > 1:
                self._most = len(batch) // 2
                return 0
            refused = EventVerdict(status="rejected", reason=error.reason, message=str(error))
            taken = Taken((refused,))
        self._note([event_id(fact) for fact, _ in batch], taken.verdicts, waiting)
        self._heed(taken.answer)
        done = sum(one.status != "rejected" for one in taken.verdicts)
        self.figures.sent += done
        self.figures.rejected += len(taken.verdicts) - done
        return done

    def _heed(self, answer: bytes) -> None:
        """Take what the server tells besides; at the end of a process nothing follows from it."""
        if answer and self.heeder is not None and not self._ending.is_set():
            wrong = self.heeder.heed(answer)
            if wrong is not None:
                self._say(wrong)

    def _note(
        self, ids: Sequence[str], verdicts: Sequence[EventVerdict], waiting: _Waiting
    ) -> None:
        """Note what became of each event of a batch."""
        dead = tuple(
            DeadLetter(
                destination=self.destination,
                event_id=name,
                reason=verdict.reason or "rejected",
                message=verdict.message,
                at_unix_ns=self._clock(),
            )
            for name, verdict in zip(ids, verdicts, strict=True)
            if verdict.status == "rejected"
        )
        for one in dead[:1]:
            how = "until its time has come there" if one.is_not_yet else "for good"
            self._say(f"it refuses an event {how} ({one.reason}: {one.message})")
        refused = {one.event_id for one in dead}
        is_replay = waiting.numbers is None
        if is_replay and len(dead) == len(ids):
            self._not_yet_until = time.monotonic() + _NOT_YET_SECONDS
        self._outbox.note(
            Shipment(
                destination=self.destination,
                number=None if waiting.numbers is None else waiting.numbers[len(ids) - 1],
                inode=waiting.inode,
                taken=tuple(name for name in ids if name not in refused) if is_replay else (),
                dead=dead,
            )
        )

    def _whose(self, client: HttpClient) -> str:
        """Return whose the events are; nothing is sent under a key of somebody else.

        Raises:
            HttpError: The server does not say whose the key is.
            WrongTenantError: It is another tenant's than the one that this ledger's first key had.
        """
        from ._batches import whose  # noqa: PLC0415 - as above

        if self._tenant is None:
            tenant = whose(client, self._endpoint)
            bound = self._bind(tenant)
            if bound != tenant:
                raise WrongTenantError(
                    f"the events of {self._ledger.home} are of tenant {bound!r}, and the key in "
                    f"TOLLSPAN_API_KEY is of {tenant!r}: nothing is sent; have another "
                    "TOLLSPAN_HOME for another tenant"
                )
            self._tenant = tenant
        return self._tenant

    def _bind(self, tenant: str) -> str:
        """Note once and for all whose the ledger's events are; return who that is."""
        path = self._ledger.home / _TENANT_FILE
        own = path.with_name(f"{_TENANT_FILE}.{os.getpid()}")
        try:
            own.write_text(tenant, encoding="utf-8")
            try:
                os.link(own, path)  # never over one that is there
            except FileExistsError:
                pass
            finally:
                own.unlink(missing_ok=True)
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise LedgerError(f"{path} can't be written ({error.strerror or error})") from error

    # -- what others see --

    def status(self) -> ShippingStatus:
        """Say how sending goes."""
        kept = self._kept()
        try:
            waits = self._outbox.waits(self.destination)
        except LedgerError:
            waits = None
        return ShippingStatus(
            destination=self.destination,
            waits=waits,
            problem=kept.problem,
            sent_at_unix_ns=kept.sent_at_unix_ns,
            exceeded=0 if self.heeder is None else self.heeder.exceeded(),
        )

    def _keep(self, problem: str | None, *, has_sent: bool = False) -> None:
        if problem is not None:
            self._say(problem)
        before = self._kept()
        sent_at = self._clock() if has_sent else before.sent_at_unix_ns
        new = _Kept(problem=problem, sent_at_unix_ns=sent_at)
        if new != before:
            with contextlib.suppress(OSError):  # a full disk, which the ledger shouts about
                replace_file(self._state, msgspec.json.encode(new))

    def _kept(self) -> _Kept:
        try:
            return _kept.decode(self._state.read_bytes())
        except (OSError, msgspec.DecodeError):
            return _Kept()

    def _say(self, why: str) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _logger.warning("tollspan's events wait for %s: %s", self.destination, why)

    # -- life --

    def start(self) -> None:
        """Send from here on, in a thread; again, it does nothing."""
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, args=(self._ending,), name="tollspan-shipping", daemon=True
                )
                with contextlib.suppress(RuntimeError):  # none to be had: the next process sends
                    thread.start()
                    self._thread = thread

    def _run(self, ending: threading.Event) -> None:
        pause = 0.0
        while not ending.wait(self._look_every_seconds + pause):
            with self._guard:
                pause = self._try(pause)
        self._ship_last()

    def _ship_last(self) -> None:
        with self._guard, contextlib.suppress(TollspanError):  # it was said
            self.ship()

    def _try(self, pause: float) -> float:
        """Send what waits; return how much longer to wait before the next time."""
        try:
            self.ship()
        except TollspanError as error:
            wait = getattr(error, "wait_seconds", None)
            if wait is not None:
                return float(wait) * random.uniform(1.0, 1.2)  # noqa: S311 - jitter
            longer = min(max(_FIRST_PAUSE_SECONDS, pause * 2), _LONGEST_PAUSE_SECONDS)
            return longer * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        return 0.0

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread is not here, and `start` has to be called again."""
        self._begin()

    def close(self, wait_seconds: float) -> None:
        """Send what is left, for a bounded time; the next process of this host sends the rest.

        It is sent in the thread, which looking up a name may keep for longer than that.
        """
        self._stop_at = time.monotonic() + wait_seconds
        self.start()  # a program that ends at once has had no tick
        self._ending.set()
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is None:
            self._ship_last()
        else:
            thread.join(wait_seconds)
