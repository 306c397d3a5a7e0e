"""What a lease does costs the same, however many accounts it has: counted in SQLite's own steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.contract.ledger.making import account, charge, event, new_id
from tollspan.budget import GivenBack, Lease, Want
from tollspan.ledger import LEDGER_FILE
from tollspan.ledger._session import Session

TOUCHED = 3
LEASE = Lease(holder="somebody")


def steps(session: Session, work: Callable[[], object]) -> int:
    """Count the steps of SQLite's machine that some work takes."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    session.connection.set_progress_handler(one_more, 1)
    work()
    session.connection.set_progress_handler(None, 1)
    return count


def costs(home: Path, accounts: int) -> tuple[int, int]:
    """Return the steps of an event under a lease of so many accounts, and of giving back."""
    session = Session(home / LEDGER_FILE)
    places = [account(f"b{number}", limit=1_000) for number in range(accounts)]
    for first in range(0, accounts, 100):
        wants = [Want(account=one, known=0, need=9, wish=9) for one in places[first : first + 100]]
        session.grant(LEASE, wants, "somebody")
    middle = places[accounts // 2 : accounts // 2 + TOUCHED]

    def post() -> None:
        done = event(new_id(), *[charge(one, posted=2) for one in middle])
        session.post(msgspec.structs.replace(done, lease_id=LEASE.id))

    def give_back() -> None:
        parts = [
            GivenBack(account=one, amount=1, total=1, is_last=False, known=9) for one in middle
        ]
        session.give_back(LEASE, parts)

    post()
    counted = steps(session, post), steps(session, give_back)
    assert [one.held for one in session.balances(middle)] == [9 - 2 - 2 - 1] * TOUCHED
    session.close()
    return counted


def test_an_event_and_what_goes_back_cost_the_same_in_a_lease_of_thousands_of_accounts(
    tmp_path: Path,
) -> None:
    small, large = (costs(tmp_path / str(number), number) for number in (10, 3_000))
    for few, many in zip(small, large, strict=True):
        assert many <= 1.5 * few, (small, large)
