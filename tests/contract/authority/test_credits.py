"""What an operator posts: credits below nothing, and unresolved money that is settled by hand."""

from __future__ import annotations

from tests.contract.authority.kits import SETTINGS, Kit
from tests.contract.authority.making import Holder, settlement, sums
from tests.contract.ledger.making import account
from tollspan.budget import Refusal

NARROW = account("narrow", limit=100)


def post(kit: Kit, name: str, amount: int) -> None:
    """Post an amount by hand, twice, as a message that is repeated."""
    for _ in range(2):
        kit.authority.settle([settlement(None, (NARROW, amount, 0), call_id=name)])


def test_a_credit_gives_room_beyond_the_limit_once(kit: Kit) -> None:
    post(kit, "raise-1", -40)
    assert sums(kit.authority, NARROW) == (-40, 0, 0)
    holder = Holder(kit.authority)
    assert holder.has(NARROW, 140) == 140
    assert isinstance(holder.asks(NARROW, 1, known=140), Refusal)


def test_a_credit_is_taken_back_by_a_debit(kit: Kit) -> None:
    post(kit, "raise-2", -40)
    post(kit, "set-2", 90)
    assert sums(kit.authority, NARROW) == (50, 0, 0)


def test_unresolved_money_is_settled_by_hand_as_a_posting_of_its_own(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 60)
    kit.advance(SETTINGS.life_seconds)
    kit.authority.expire()
    (left,) = kit.authority.unresolved()
    kit.authority.settle([settlement(left.lease_id, (NARROW, 10, 0), drawn=left.amount)])
    assert sums(kit.authority, NARROW) == (10, 0, 0)
    assert kit.authority.unresolved() == ()
