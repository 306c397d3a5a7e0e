"""The periods of calls that are not made: of idle windows nothing is begun, and nothing noted."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tollspan.usage import Call, LedgerError

from .idle import Place, idle_key, place_of, read_unnamed
from .idle_periods import IdlePeriods, PeriodUnknownError
from .idle_plans import in_periods
from .plans import Plan
from .values import Account


class LookedPeriods:
    """What one look finds, once it has asked; as `IdlePeriods` for calls that are made.

    Args:
        periods: What the process knows.
    """

    def __init__(self, periods: IdlePeriods) -> None:
        self._periods = periods
        self._found: dict[Place, str] = {}

    def settled(self, call: Call, plan: Plan, asked: Collection[Place] = ()) -> Plan:
        """Name the periods of a plan's idle windows.

        Raises:
            PeriodUnknownError: The authority has to be asked first.
        """
        began_at_us = call.started_at_unix_ns // 1_000
        unknown = [
            account
            for account in plan.accounts
            if read_unnamed(account.period) is not None
            and place_of(account) not in self._found
            and place_of(account) not in asked
        ]
        if unknown:
            raise PeriodUnknownError(tuple(unknown), began_at_us)
        return in_periods(plan, lambda account: self._name(account, began_at_us))

    def assumed(self, call: Call, plan: Plan) -> Plan:
        """Name the periods of a plan's idle windows; it may wait for the authority."""
        try:
            return self.settled(call, plan)
        except PeriodUnknownError as unknown:
            self.learn(unknown)
            return self.settled(call, plan, unknown.places)

    def learn(self, unknown: PeriodUnknownError) -> LedgerError | None:
        """Ask the authority which periods run; why it does not answer, else None."""
        for account in unknown.accounts:
            try:
                self._found[place_of(account)] = self._periods.look(account, unknown.began_at_us)
            except LedgerError as error:
                return error
        return None

    async def learn_async(
        self, unknown: PeriodUnknownError, wait_seconds: float
    ) -> LedgerError | None:
        """Do as `learn` does."""
        del wait_seconds  # nobody looks without blocking
        return self.learn(unknown)

    def enter(self, call_id: str, accounts: Iterable[Account]) -> None:
        """Do nothing: there is no call."""

    def leave(self, call_id: str) -> None:
        """Do nothing: there is no call."""

    def _name(self, account: Account, began_at_us: int) -> str:
        found = self._found.get(place_of(account))
        return found or idle_key(read_unnamed(account.period) or 0, began_at_us)


Periods = IdlePeriods | LookedPeriods
