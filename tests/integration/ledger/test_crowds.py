"""What is refused when another process is quicker, time after time: a session stands for each."""

from __future__ import annotations

from pathlib import Path

from tests.contract.ledger.making import account, hold
from tollspan.ledger import LEDGER_FILE
from tollspan.ledger._session import Session


def test_a_soft_account_is_no_reason_to_refuse_when_others_are_quicker_at_the_hard_one(
    tmp_path: Path,
) -> None:
    soft, hard = account("soft", limit=1, is_soft=True), account("hard", limit=10)
    asking, other = Session(tmp_path / LEDGER_FILE), Session(tmp_path / LEDGER_FILE)
    filling = hold((hard, 10))
    other.hold(filling, "other")

    def be_quicker(statement: str) -> None:
        """Have the hard account full when it is asked for, and empty when it is looked at."""
        if statement.startswith("INSERT INTO holds"):
            other.hold(filling, "other")
        elif "'hard'" in statement:
            other.release(filling.call_id)

    asking.connection.set_trace_callback(be_quicker)
    refusal = asking.hold(hold((soft, 4), (hard, 4)), "asking")
    asking.connection.set_trace_callback(None)
    assert refusal is not None
    assert not refusal.is_held
    assert [one.account for one in refusal.balances] == [hard]
    for session in (asking, other):
        session.close()
