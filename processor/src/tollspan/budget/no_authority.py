"""An authority that can't be had: `on_unavailable` decides."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from tollspan.usage import LedgerUnavailableError, TollspanError

from .idle import Touch
from .ports import Busy
from .values import Account, Balance, Hold, Refusal


class NoAuthority:
    """An authority that never answers.

    Args:
        problem: Why.
    """

    def __init__(self, problem: TollspanError) -> None:
        self._problem = problem

    def hold(self, hold: Hold) -> Refusal | None:  # noqa: ARG002 - the port's
        """Hold nothing.

        Raises:
            LedgerUnavailableError: Always.
        """
        raise LedgerUnavailableError(str(self._problem))

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Hold nothing; raises as `hold` does."""
        return self.hold(hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:  # noqa: ARG002 - the port's
        """Hold nothing."""
        future: Future[Refusal | None] = Future()
        future.set_exception(LedgerUnavailableError(str(self._problem)))
        return future

    def release_soon(self, call_id: str) -> None:
        """Give nothing back: nothing is held."""

    def touch(self, touch: Touch) -> str:  # noqa: ARG002 - the port's
        """Say nothing; raises as `hold` does."""
        raise LedgerUnavailableError(str(self._problem))

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:  # noqa: ARG002
        """Say nothing; raises as `hold` does."""
        raise LedgerUnavailableError(str(self._problem))
