"""Jobs in code: hold for work that ends elsewhere, in any queue or at any provider.

What is read and written is the ledger: a fraction of a millisecond, longer while other processes
write to it. In async code that matters, call it by `asyncio.to_thread`, which keeps the context.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tollspan import attribution
from tollspan.budget import Decision, DeferredHold, parse_amount
from tollspan.instrumentation import JobEnd, Reading
from tollspan.usage import (
    TOOL_PROVIDER,
    Call,
    ConfigError,
    LedgerError,
    Quantities,
    Request,
    Response,
    Usage,
    new_call_id,
    refusal,
)

from ._install import installed_or_raise
from ._wiring import Installed

_DOOR = "gate"
# What is held and settled in money has a unit of its own, whose price is exact.
_MONEY = "nanousd"
_PICOUSD_PER_NANOUSD = 1_000


class PendingJob:
    """What is held for work that was not handed over yet; made by `jobs.hold`.

    Attributes:
        call_id: The id of its event.
    """

    def __init__(self, installed: Installed, call: Call, decision: Decision) -> None:
        self._installed = installed
        self._call = call
        self._decision = decision
        self.call_id = call.id

    def defer(self, provider: str, job_id: str) -> None:
        """Keep what is held under the job's id: it outlives this process from here on.

        Args:
            provider: Whose job it is: the queue's name say, or a provider's.
            job_id: Its name there.

        Raises:
            LedgerError: It can't be kept, or that job is known already. What is held stays held
                while this process lives, and is unresolved then.
        """
        deferred = DeferredHold(
            provider=provider,
            job_id=job_id,
            call=self._call,
            note=self._decision.note,
            hold=self._decision.hold,
            deferred_at_unix_ns=time.time_ns(),
        )
        if not self._installed.books.sink.defer(deferred):
            raise LedgerError(f"job {job_id!r} of {provider!r} can't be kept, or is there already")
        if self._decision.on_end is not None:
            self._decision.on_end()

    def release(self) -> None:
        """Give back what is held: the work was never handed over."""
        self._installed.gate.abandon(self._call.id)


class JobsInCode:
    """Jobs, for programs that hand work over. Made once: `tollspan.api.jobs`."""

    def hold(self, name: str, most: str | Mapping[str, int]) -> PendingJob:
        """Hold the most that a piece of work can cost, before it is handed over.

        Args:
            name: What it is: a tool's name, by which rules match and `prices.yaml` has prices.
            most: An amount, `0.50 USD` say; or how much of each unit that the tool has a price
                for, `{"frames": 300}`.

        Raises:
            NotInstalledError: No call of this process is gated.
            CallDeniedError: A rule refuses it; nothing is held.
            ConfigError: The amount is none.
        """
        installed = installed_or_raise("jobs.hold()")
        now = time.time_ns()
        call = Call(
            id=new_call_id(now),
            started_at_unix_ns=now,
            request=_request(name, most),
            attribution=attribution.capture(),
            door=_DOOR,
        )
        decision = installed.gate.authorize(call)
        if decision.denial is not None:
            installed.ledger.note(refusal(call, decision.note, decision.denial, None))
            raise decision.denial
        return PendingJob(installed, call, decision)

    def settle(
        self,
        provider: str,
        job_id: str,
        *,
        cost: str | None = None,
        usage: Mapping[str, int] | None = None,
    ) -> bool:
        """Settle a job that has ended, once: told again, by any process, it changes nothing.

        Args:
            provider: As in `defer`.
            job_id: As in `defer`.
            cost: What it cost, `0.31 USD` say, where `hold` was told an amount.
            usage: How much of each unit it used, elsewhere.

        Returns:
            False where this host keeps no such job: it was settled already, or never begun here.

        Raises:
            NotInstalledError: No call of this process is gated.
            ConfigError: Neither, or both, of cost and usage are given.
            LedgerError: The ledger can't be read.
        """
        if (cost is None) is (usage is None):
            raise ConfigError("jobs.settle(): give either cost='0.31 USD' or usage={…}")
        used = _money(cost) if cost is not None else _quantities(usage or {})
        said = Usage(quantities=used)
        return _end("jobs.settle()", provider, job_id, Reading(said, _ended(job_id, "ended")))

    def release(self, provider: str, job_id: str) -> bool:
        """Release what is held for a job that cost nothing; as `settle`."""
        return _end("jobs.release()", provider, job_id, Reading(None, _ended(job_id, "cancelled")))


jobs = JobsInCode()


def _end(what: str, provider: str, job_id: str, reading: Reading) -> bool:
    installed = installed_or_raise(what)
    desk = installed.lifecycle.desk
    if desk is None or not installed.books.sink.deferred(provider, job_id):
        return False
    desk.see(provider, JobEnd(job_id, lambda _: reading))
    return True


def _ended(job_id: str, how: str) -> Response:
    return Response(id=job_id, finish_reasons=(how,))


def _request(name: str, most: str | Mapping[str, int]) -> Request:
    is_money = isinstance(most, str)
    return Request(
        provider=TOOL_PROVIDER,
        operation="execute_tool",
        model=name,
        quantities=_money(most) if isinstance(most, str) else _quantities(most),
        declared=((_MONEY, _PICOUSD_PER_NANOUSD),) if is_money else (),
    )


def _money(text: str) -> Quantities:
    return ((_MONEY, parse_amount(text, "an amount", "usd")),)


def _quantities(counts: Mapping[str, int]) -> Quantities:
    for unit, count in counts.items():
        if type(count) is not int or count < 0:
            raise ConfigError(f"{unit} is {count!r}; expected a whole number, 0 or more")
    return tuple(sorted(counts.items()))
