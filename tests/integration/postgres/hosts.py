"""Processes that spend from a PostgreSQL authority as hosts do, and write down what they were told.

Run as `python -m tests.integration.postgres.hosts URL FILE THREADS SECONDS LIMIT`. Each thread's
file gets a line for each call that was made, its cost, before it is settled, as an outbox does.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

import msgspec

from tests.contract.authority.making import want
from tests.contract.ledger.making import account, charge
from tollspan.budget import Account, GivenBack, Grant, Lease, LeaseLostError, Settlement
from tollspan.ledger import PostgresAuthority
from tollspan.usage import LedgerUnavailableError, new_call_id

LIFE_SECONDS = 30.0


def linked(limit: int) -> tuple[Account, Account]:
    """Return the accounts that every call is charged to; the first is the narrower one."""
    return account("org", limit=limit), account("team", limit=limit * 2)


def connect(url: str) -> PostgresAuthority:
    return PostgresAuthority(url, life_seconds=LIFE_SECONDS, timeout_seconds=1.0)


class Host:
    """One holder of a lease: asks, spends, settles, gives back."""

    def __init__(
        self, authority: PostgresAuthority, record: Path, *, seed: int, limit: int
    ) -> None:
        self._linked = linked(limit)
        self._authority = authority
        self._record = record.open("a", buffering=1)
        self._chance = random.Random(seed)
        self._begin()

    def _begin(self) -> None:
        self._lease = Lease(holder=new_call_id())
        self._known = self._left = self._returned = 0
        self._unsettled: list[Settlement] = []

    def live(self, ends_at: float) -> None:
        while time.monotonic() < ends_at:
            try:
                self._ask()
                self._spend()
                self._settle()
                self._give_back()
            except LeaseLostError:
                self._settle_until(ends_at)
                self._begin()
            except LedgerUnavailableError:
                time.sleep(0.01)
        # The servers of these tests are up in the end, if not at once.
        self._settle_until(ends_at + 20)
        self._leave(ends_at + 20)

    def _ask(self) -> None:
        wants = [want(one, 5, known=self._known) for one in self._linked]
        self._chance.shuffle(wants)
        answer = self._authority.grant(self._lease, wants)
        if isinstance(answer, Grant):
            assert answer.totals[0] == answer.totals[1], answer
            self._left += answer.totals[0] - self._known
            self._known = answer.totals[0]
            self._lease = msgspec.structs.replace(
                self._lease, epoch=answer.epoch, heard=answer.number
            )

    def _spend(self) -> None:
        cost = self._chance.randint(0, self._left)
        self._left -= cost
        call_id = new_call_id()
        self._record.write(f"{cost}\n")
        self._unsettled.append(
            Settlement(
                call_id=call_id,
                lease_id=self._lease.id,
                charges=tuple([charge(one, posted=cost) for one in self._linked]),
            )
        )

    def _settle(self) -> None:
        self._authority.settle(self._unsettled)
        self._unsettled = []

    def _settle_until(self, ends_at: float) -> None:
        while self._unsettled:
            try:
                self._settle()
            except LedgerUnavailableError:
                assert time.monotonic() < ends_at
                time.sleep(0.05)

    def _give_back(self) -> None:
        back = self._chance.randint(0, self._left)
        self._give(back, is_last=False)

    def _leave(self, ends_at: float) -> None:
        """Give the rest back; a message that is repeated counts once, for it tells totals."""
        back = self._left
        while True:
            try:
                return self._give(back, is_last=True)
            except LedgerUnavailableError:
                assert time.monotonic() < ends_at
                back = 0
                time.sleep(0.05)

    def _give(self, back: int, *, is_last: bool) -> None:
        self._left -= back
        self._returned += back
        self._authority.give_back(
            self._lease,
            [
                GivenBack(
                    account=one,
                    amount=back,
                    total=self._returned,
                    known=self._known,
                    is_last=is_last,
                    part=1,
                )
                for one in self._linked
            ],
        )


def main(url: str, file: str, threads: int, seconds: float, limit: int) -> None:
    """Live as so many hosts; a thread that fails makes the process fail."""
    failures: list[BaseException] = []
    authority = connect(url)

    def run(nth: int) -> None:
        try:
            host = Host(authority, Path(f"{file}.{nth}"), seed=nth, limit=limit)
            host.live(time.monotonic() + seconds)
        except BaseException as error:
            failures.append(error)
            raise

    running = [threading.Thread(target=run, args=(nth,)) for nth in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    authority.close()
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
