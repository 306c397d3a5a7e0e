"""A holder that writes its messages by hand, for tests of shared authorities."""

from __future__ import annotations

import itertools

import msgspec

from tests.contract.ledger.making import charge
from tollspan.budget import (
    Account,
    GivenBack,
    Grant,
    Lease,
    Refusal,
    Settlement,
    SharedAuthority,
    Want,
)

_numbers = itertools.count(1)


class Holder:
    """One process's lease, told of by hand; `part` numbers what it has in an account."""

    def __init__(self, authority: SharedAuthority, *, fence: int = 1) -> None:
        self.authority = authority
        self.lease = Lease(holder=f"holder-{next(_numbers)}", fence=fence)

    def hears(self, grant: Grant | Refusal) -> None:
        """Remember what an answer says of the lease."""
        if isinstance(grant, Grant):
            self.lease = msgspec.structs.replace(
                self.lease, epoch=grant.epoch, heard=max(self.lease.heard, grant.number)
            )

    def asks(
        self, account: Account, need: int, wish: int = 0, *, known: int = 0, part: int = 1
    ) -> Grant | Refusal:
        """Ask for more in one account."""
        answer = self.sends(want(account, need, wish, known=known, part=part))
        self.hears(answer)
        return answer

    def sends(self, *wants: Want) -> Grant | Refusal:
        """Ask, and don't hear the answer."""
        return self.authority.grant(self.lease, wants)

    def has(self, account: Account, need: int, wish: int = 0, *, known: int = 0) -> int:
        """Ask for more, be granted it, and return all that was ever granted."""
        answer = self.asks(account, need, wish, known=known)
        assert isinstance(answer, Grant), answer
        return answer.totals[0]

    def gives(
        self,
        account: Account,
        amount: int,
        *,
        total: int | None = None,
        is_last: bool = False,
        known: int | None = None,
        part: int = 1,
    ) -> float | None:
        """Give back in one account."""
        given = GivenBack(
            account=account,
            amount=amount,
            total=amount if total is None else total,
            is_last=is_last,
            known=known,
            part=part,
        )
        return self.authority.give_back(self.lease, [given])

    def renews(self) -> float | None:
        """Tell that it lives."""
        return self.authority.give_back(self.lease, [])

    def spends(self, account: Account, posted: int, *, unresolved: int = 0) -> Settlement:
        """Settle a new call of the lease; return what was told, to tell it again."""
        told = settlement(
            self.lease.id, (account, posted, unresolved), call_id=f"call-{next(_numbers)}"
        )
        self.authority.settle([told])
        return told


def want(account: Account, need: int, wish: int = 0, *, known: int = 0, part: int = 1) -> Want:
    """Ask for so much."""
    return Want(account=account, known=known, need=need, wish=max(need, wish), part=part)


def settlement(
    lease_id: str | None,
    *charges: tuple[Account, int, int],
    call_id: str | None = None,
    drawn: int | None = None,
) -> Settlement:
    """Charge accounts: posted, and left unresolved."""
    return Settlement(
        call_id=call_id or f"call-{next(_numbers)}",
        lease_id=lease_id,
        charges=tuple(
            [
                msgspec.structs.replace(
                    charge(where, posted=posted, unresolved=unresolved), drawn=drawn
                )
                for where, posted, unresolved in charges
            ]
        ),
    )


def sums(authority: SharedAuthority, account: Account) -> tuple[int, int, int]:
    """Return what an account has posted, held and unresolved."""
    (balance,) = authority.balances([account])
    return balance.posted, balance.held, balance.unresolved
