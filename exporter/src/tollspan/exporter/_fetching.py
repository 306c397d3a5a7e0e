"""Rules from an address: fetched in a thread of their own, kept on disk for the next start.

Every process of a host goes by the copy on disk; one at a time asks whether there is another, all
together about once in `every_seconds`. So a start needs no network once the host has seen rules.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tollspan.budget import parse_rules
from tollspan.ledger import alone, replace_file
from tollspan.safety import Guard
from tollspan.usage import ConfigError, TollspanError

from ._addresses import copy_of, shown

if TYPE_CHECKING:
    from ._http import Answer

EVERY_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 0.05
_MOST_BYTES: Final = 4 << 20
_LOG_EVERY_SECONDS: Final = 60.0
_NONE: Final = 204
_UNCHANGED: Final = 304
_NO_RULES: Final = b"version: 1  # the server has no rules\n"
_logger = logging.getLogger("tollspan.exporter")


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the rules at an address, on this host.

    Attributes:
        etag: Names what was fetched last, good or not; None where the server names nothing.
        looked_at_unix_ns: When it was asked last; 0 for never.
        changed_at_unix_ns: When the copy here was written; 0 while there is none.
        unanswered: Why the last question had no answer; None when it had.
        wrong: What is wrong with the rules that are there; None for nothing.
        has_none: The ingest server has no rules for this key; the copy says so.
    """

    etag: str | None = None
    looked_at_unix_ns: int = 0
    changed_at_unix_ns: int = 0
    unanswered: str | None = None
    wrong: str | None = None
    has_none: bool = False

    @property
    def problem(self) -> str | None:
        """Why the copy here may be older than what is there; None when all is well."""
        return self.unanswered or self.wrong


_decoder = msgspec.json.Decoder(Fetched)


class RuleFetcher:
    """Keeps this host's copy of the rules at an address up to date.

    Args:
        url: `https://…` or `http://…`: the document, as `tollspan.yaml` is.
        home: The folder under which the copy is kept, for this user alone.
        key: Is sent as a bearer token; None for none.
        may_have_none: That there are no rules there is an answer: no budgets. It is where an ingest
            server is asked for what its tenant put there, and not where somebody named a document.
        every_seconds: How often to ask.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        url: str,
        home: Path,
        *,
        key: str | None = None,
        may_have_none: bool = False,
        every_seconds: float = EVERY_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url
        self._home = home
        self._key = key
        self._may_have_none = may_have_none
        self._every_ns = int(every_seconds * 1e9)
        self._clock = clock
        self._copy = copy_of(url, home)
        self._state = self._copy.with_suffix(".json")
        self._guard = Guard("exporter.fetching")
        self._logged_at = -_LOG_EVERY_SECONDS
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread is not here, and `start` has to be called again."""
        self._starting = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    # -- asking --

    def known(self) -> Fetched:
        """Return what is known of the rules there, from disk."""
        try:
            return _decoder.decode(self._state.read_bytes())
        except (OSError, msgspec.DecodeError):
            return Fetched()

    def refresh(self) -> None:
        """Ask whether there are other rules, unless some process of the host has just done so.

        Where none are here yet and another process asks, its answer is waited for. Rules that can't
        be used leave the copy as it is. It takes some seconds at most.

        Raises:
            ConfigError: There is no copy, and none was to be had.
        """
        ends_at = time.monotonic() + 2 * _TIMEOUT_SECONDS
        try:
            while not self._look_alone() and not self._copy.exists():
                if time.monotonic() >= ends_at:
                    break
                time.sleep(_WAIT_SECONDS)
        except OSError as error:
            self._fail(f"{self._copy} can't be written ({error.strerror or error})")
        if not self._copy.exists():
            why = self.known().problem or "nobody has asked yet"
            raise ConfigError(f"there are no rules from {shown(self._url)}: {why}")

    def fetch_now(self) -> bool:
        """Ask whether it is time to or not; False where another process of the host is at it.

        Raises:
            ConfigError: What was found can't be kept.
        """
        try:
            return self._look_alone(is_due=True)
        except OSError as error:
            why = f"{self._copy} can't be written ({error.strerror or error})"
            self._fail(why)
            raise ConfigError(why) from error

    def _look_alone(self, *, is_due: bool = False) -> bool:
        """Ask if it is time to; False where another process of the host is at it."""
        with alone(self._home, f"{self._copy.stem}.rules") as is_alone:
            if is_alone and (is_due or self._is_due()):
                self._look()
            return is_alone

    def _is_due(self) -> bool:
        since = self._clock() - self.known().looked_at_unix_ns
        return not 0 <= since < self._every_ns or not self._copy.exists()

    def _look(self) -> None:
        from ._http import HttpClient, HttpError  # noqa: PLC0415 - only who goes by an address pays

        known = self.known()
        headers = {"Accept": "application/yaml, text/yaml, text/plain, */*"}
        if known.etag is not None and (self._copy.exists() or known.wrong):
            headers["If-None-Match"] = known.etag
        now = self._clock()
        client = HttpClient(self._key, timeout_seconds=_TIMEOUT_SECONDS, most_bytes=_MOST_BYTES)
        try:
            answer = client.get(self._url, headers)
            found = self._take(answer, known, now)
        except HttpError as error:
            self._fail(str(error))
            found = msgspec.structs.replace(known, looked_at_unix_ns=now, unanswered=str(error))
        finally:
            client.close()
        self._write(self._state, msgspec.json.encode(found))

    def _take(self, answer: Answer, known: Fetched, now: int) -> Fetched:
        """Keep the rules that came, if there are any to keep.

        Raises:
            HttpError: The server has none for us.
        """
        from ._http import HttpError  # noqa: PLC0415 - as above

        if answer.status == _UNCHANGED:
            return msgspec.structs.replace(known, looked_at_unix_ns=now, unanswered=None)
        if answer.status == _NONE and self._may_have_none:
            return self._take_none(known, now)
        if answer.status != 200:
            raise HttpError(f"it answers {answer.status}{self._meaning(answer.status)}")
        etag = answer.headers.get("etag")
        try:
            parse_rules(answer.body.decode(), source=shown(self._url))
        except (ConfigError, UnicodeDecodeError) as error:
            why = str(error) if isinstance(error, TollspanError) else "it is no UTF-8"
            self._fail(why)
            return msgspec.structs.replace(
                known, etag=etag, looked_at_unix_ns=now, unanswered=None, wrong=why
            )
        changed_at = known.changed_at_unix_ns
        if not self._has(answer.body):  # a server that knows no ETag sends the same each time
            self._write(self._copy, answer.body)
            changed_at = now
        return Fetched(etag=etag, looked_at_unix_ns=now, changed_at_unix_ns=changed_at or now)

    def _take_none(self, known: Fetched, now: int) -> Fetched:
        """Note that there are no rules; never in the place of some, which nobody can take back.

        Raises:
            HttpError: There were some.
        """
        from ._http import HttpError  # noqa: PLC0415 - as above

        if self._copy.exists() and not self._has(_NO_RULES):
            raise HttpError("it has none for this key any more: those that it had stay in force")
        changed_at = known.changed_at_unix_ns
        if not self._copy.exists():
            self._write(self._copy, _NO_RULES)
            changed_at = now
        return Fetched(looked_at_unix_ns=now, changed_at_unix_ns=changed_at or now, has_none=True)

    def _has(self, rules: bytes) -> bool:
        """Say whether these are the ones that are here."""
        try:
            return self._copy.read_bytes() == rules
        except OSError:
            return False

    def _meaning(self, status: int) -> str:
        nothing = ": there is nothing"
        if self._may_have_none:
            nothing = ": it has no /v1/rules, so it is too old, or no ingest server"
        words = {
            204: ": there are none yet",
            401: ": the key in TOLLSPAN_API_KEY is none that it knows",
            403: ": the key in TOLLSPAN_API_KEY may not read them",
            404: nothing,
        }
        return words.get(status, "")

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file so that whoever reads it finds the old or the new one, whole."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, data, is_durable=True)

    def _fail(self, why: str) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _logger.warning("tollspan has no newer rules from %s: %s", shown(self._url), why)

    # -- life --

    def start(self) -> threading.Event:
        """Ask from here on, in a thread; return what is set after the first time."""
        asked = threading.Event()
        with self._starting:
            if self._thread is None:
                self._ending = threading.Event()
                thread = threading.Thread(
                    target=self._run,
                    args=(asked, self._ending),
                    name="tollspan-rules",
                    daemon=True,
                )
                with contextlib.suppress(RuntimeError):  # none to be had: the copy is gone by
                    thread.start()
                    self._thread = thread
        return asked

    def _run(self, asked: threading.Event, ending: threading.Event) -> None:
        while not ending.is_set():
            with self._guard:
                try:
                    self.refresh()
                except ConfigError as error:
                    _logger.debug("tollspan: %s", error)
            asked.set()
            pause = self._every_ns / 1e9 if self._copy.exists() else 1.0
            ending.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    def close(self) -> None:
        """Ask no more."""
        self._ending.set()
        with self._starting:
            self._thread = None
