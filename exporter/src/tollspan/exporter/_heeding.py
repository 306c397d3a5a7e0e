"""What a server tells beside its verdicts: accounts that are used up there, and its rules' version.

One process of a host sends, and so hears it. It writes down what it heard; the others look at the
file's time, and read it when that has changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tollspan.budget import AccountName, Flag
from tollspan.ledger import replace_file
from tollspan.safety import Guard
from tollspan.usage import ConfigError, ExceededAccount, ServerState

if TYPE_CHECKING:
    from ._fetching import RuleFetcher

_FILE: Final = "exceeded.json"
_NONE: Final[Mapping[AccountName, Flag]] = {}
_states = msgspec.json.Decoder(ServerState, strict=False)


class _Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What one process wrote down for the others."""

    destination: str
    at_unix_ns: int
    exceeded: tuple[ExceededAccount, ...]


_heard = msgspec.json.Decoder(_Heard)


class Heeder:
    """Hears what a server tells, and says which accounts are flagged.

    Args:
        home: The ledger's folder.
        destination: The server.
        fetcher: Fetches the rules, where they come from that server; else None.
        document: The rules in force: what was heard before they changed counts no more.
        clock: Unix nanoseconds.
    """

    def __init__(
        self,
        home: Path,
        destination: str,
        *,
        fetcher: RuleFetcher | None = None,
        document: Path | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = home / "run" / _FILE
        self._destination = destination
        self._fetcher = fetcher
        self._document = document
        self._clock = clock
        self._asked_for: str | None = None
        self._seen: object = None
        self._flags: Mapping[AccountName, Flag] = _NONE
        self._guard = Guard("exporter.heeding")
        self.on_change: Callable[[], None] = _nothing
        """Is told, in the thread that sends, when there is something to `look` at."""

    # -- in the process that sends --

    def heed(self, answer: bytes) -> str | None:
        """Take what an answer tells; return what is wrong with it, or None.

        Where it names other rules than were fetched last, those are fetched at once, once for each
        name: it takes some seconds at most.
        """
        try:
            state = _states.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"what it tells of budgets and rules can't be read ({error})"
        with self._guard:
            is_new = self._write_down(state)
            if self._fetches(state.rules):
                self._write_down(state)  # it is of these rules too
                is_new = True
            if is_new:
                self.on_change()
        return None

    def _write_down(self, state: ServerState) -> bool:
        """Write down what is used up; False where nothing is new."""
        if state.exceeded is None:
            return False
        before = self._read()
        if not state.exceeded and (before is None or not before.exceeded):
            return False
        now = self._clock()
        heard = _Heard(
            destination=self._destination, at_unix_ns=now, exceeded=tuple(state.exceeded)
        )
        replace_file(self._path, msgspec.json.encode(heard))
        return before is None or before.exceeded != heard.exceeded

    def _fetches(self, etag: str | None) -> bool:
        """Fetch rules that are not the ones here; say whether that was done."""
        fetcher = self._fetcher
        if fetcher is None or etag is None or etag in (self._asked_for, fetcher.known().etag):
            return False
        try:
            if not fetcher.fetch_now():
                return False  # another process is at it
        except ConfigError:
            return False  # it said so
        self._asked_for = etag
        return True

    # -- in every process --

    def look(self) -> Mapping[AccountName, Flag] | None:
        """Return the flagged accounts if that may have changed since the last look, else None."""
        stamp = (_stamp(self._path), _stamp(self._document))
        if stamp == self._seen:
            return None
        self._seen = stamp
        flags = self._now()
        if flags == self._flags:
            return None
        self._flags = flags
        return flags

    def exceeded(self) -> int:
        """Count the accounts that are flagged now."""
        return len(self._now())

    def _now(self) -> Mapping[AccountName, Flag]:
        heard = self._read()
        if heard is None or self._is_outdated(heard):
            return _NONE
        return {
            (one.budget_id, one.scope, one.period, one.unit): Flag(
                limit=one.limit, spent=one.spent, held=one.held, resets_at=one.resets_at
            )
            for one in heard.exceeded
        }

    def _is_outdated(self, heard: _Heard) -> bool:
        """Say whether other rules were put here since; a time to come says nothing."""
        changed = _stamp(self._document)
        return changed is not None and heard.at_unix_ns < changed[0] <= self._clock()

    def _read(self) -> _Heard | None:
        try:
            heard = _heard.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return heard if heard.destination == self._destination else None


def _stamp(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _nothing() -> None:
    """Tell nobody."""
