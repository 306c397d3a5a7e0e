"""The pieces of work that the writer thread does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from tollspan.budget import Hold, Refusal
from tollspan.usage import DecisionEvent, LedgerError, UsageEvent

from ._session import Session


class HoldWork:
    """A hold that somebody awaits."""

    is_hasty = True

    def __init__(self, hold: Hold, owner: Callable[[], str]) -> None:
        self.future: Future[Refusal | None] = Future()
        self._hold = hold
        self._owner = owner
        self._is_wanted: bool | None = None
        self._refusal: Refusal | None = None

    def apply(self, session: Session) -> None:
        """Hold, unless nobody waits any more."""
        if self._is_wanted is None:
            self._is_wanted = self.future.set_running_or_notify_cancel()
        if self._is_wanted:
            self._refusal = session.hold(self._hold, self._owner())

    def done(self) -> None:
        """Tell the one who waits."""
        if not self.future.cancelled():
            self.future.set_result(self._refusal)

    def failed(self, error: LedgerError) -> None:
        """Tell the one who waits."""
        if not self.future.done():
            self.future.set_exception(error)


class PostWork:
    """An event to store; put aside when it can't be."""

    is_hasty = False

    def __init__(
        self,
        event: UsageEvent,
        hold: Hold | None,
        rescue: Callable[[UsageEvent, Hold | None], None],
    ) -> None:
        self.future: Future[None] = Future()
        self._event = event
        self._hold = hold
        self._rescue = rescue

    def apply(self, session: Session) -> None:
        """Store and settle."""
        session.post(self._event)

    def done(self) -> None:
        """Tell the one who waits, if anybody does."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(None)

    def failed(self, error: LedgerError) -> None:  # noqa: ARG002 - rescue says it
        """Keep the event where there is room."""
        try:
            self._rescue(self._event, self._hold)
        finally:
            self.done()


class NoteWork:
    """A refusal to store."""

    is_hasty = False

    def __init__(self, event: DecisionEvent, keep_aside: Callable[[DecisionEvent], None]) -> None:
        self._event = event
        self._keep_aside = keep_aside

    def apply(self, session: Session) -> None:
        """Store it."""
        session.note(self._event)

    def done(self) -> None:
        """Nobody waits."""

    def failed(self, error: LedgerError) -> None:  # noqa: ARG002 - the gate has said it
        """Keep the refusal where there is room."""
        self._keep_aside(self._event)


class ReleaseWork:
    """A hold to give back: its call was never made."""

    is_hasty = False

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id

    def apply(self, session: Session) -> None:
        """Give it back."""
        session.release(self._call_id)

    def done(self) -> None:
        """Nobody waits."""

    def failed(self, error: LedgerError) -> None:
        """Leave it: the hold becomes unresolved when this process ends."""


class SightWork:
    """Something seen that should not happen."""

    is_hasty = False

    def __init__(self, kind: str, name: str, unix_ns: int) -> None:
        self._kind = kind
        self._name = name
        self._unix_ns = unix_ns

    def apply(self, session: Session) -> None:
        """Count it."""
        session.sight(self._kind, self._name, 1, self._unix_ns)

    def done(self) -> None:
        """Nobody waits."""

    def failed(self, error: LedgerError) -> None:
        """Forget it: it is a count of curiosities, not of money."""
