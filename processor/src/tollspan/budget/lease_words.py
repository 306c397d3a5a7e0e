"""The questions to an authority over HTTP and its answers, as both sides write them.

Amounts are strings of decimal digits, as all money on the wire is: no reader rounds them.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from tollspan.usage import BudgetUnit, Charge

from .folding import FoldOrder, FoldRow
from .idle import Touch
from .leases import GivenBack, Lease, Settlement, Unresolved, Want
from .values import Account, Balance

MOST_AT_ONCE: Final = 1_000
"""Wants, parts, settlements, accounts or rows of one question."""
MOST_AMOUNT: Final = (1 << 63) - 1
MOST_CHARGES: Final = 256
"""What one call, or one posting of an operator, puts into accounts."""
_Name = Annotated[str, msgspec.Meta(max_length=512, pattern=r"^[^\x00]*$")]
_Scope = Annotated[str, msgspec.Meta(max_length=16_384, pattern=r"^[^\x00]*$")]
_Amount = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,18})$")]
_Signed = Annotated[str, msgspec.Meta(pattern=r"^(0|-?[1-9][0-9]{0,18})$")]
_Sum = Annotated[str, msgspec.Meta(pattern=r"^(0|-?[1-9][0-9]{0,37})$")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class TooLargeError(ValueError):
    """An amount has more than 63 bits; the text names it."""


class _Words(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is written; unknown keys are passed over, as by every reader here."""


class AccountWords(_Words, frozen=True, kw_only=True):
    """An account, with the limit by which it is asked."""

    budget_id: _Name
    scope: _Scope = ""
    period: _Name = ""
    unit: BudgetUnit = "usd"
    limit: _Amount = "0"
    is_soft: bool = False

    def value(self) -> Account:
        """Return what is meant."""
        return Account(
            budget_id=self.budget_id,
            scope=self.scope,
            period=self.period,
            unit=self.unit,
            limit=_read("limit", self.limit),
            is_soft=self.is_soft,
        )


class LeaseWords(_Words, frozen=True, kw_only=True):
    """A lease, and what its holder has heard of it."""

    holder: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00/]*$")]
    fence: _Count = 1
    epoch: _Name | None = None
    heard: _Count = 0

    def value(self) -> Lease:
        """Return what is meant."""
        return Lease(holder=self.holder, fence=self.fence, epoch=self.epoch, heard=self.heard)


class WantWords(_Words, frozen=True, kw_only=True):
    """What a lease should have more in one account."""

    account: AccountWords
    known: _Amount = "0"
    need: _Amount
    wish: _Amount
    part: _Count = 0


class GrantQuestion(_Words, frozen=True, kw_only=True):
    """Grant in every account or in none; asked again, it is granted once."""

    lease: LeaseWords
    wants: Annotated[tuple[WantWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)]

    def values(self) -> tuple[Want, ...]:
        """Return what is wanted."""
        return tuple(
            [
                Want(
                    account=one.account.value(),
                    known=_read("known", one.known),
                    need=_read("need", one.need),
                    wish=_read("wish", one.wish),
                    part=one.part,
                )
                for one in self.wants
            ]
        )


class RefusalWords(_Words, frozen=True, kw_only=True):
    """Accounts in which something does not fit, as they stand, and what was asked of each."""

    balances: tuple[BalanceWords, ...]
    asked: tuple[_Amount, ...]
    is_held: bool = False


class GrantWords(_Words, frozen=True, kw_only=True):
    """What was granted: all that this lease ever got in each account, in the wants' order."""

    totals: tuple[_Sum, ...]
    life_seconds: float | None = None
    short: RefusalWords | None = None
    epoch: str | None = None
    number: int = 0


class GrantAnswer(_Words, frozen=True, kw_only=True):
    """One of the two."""

    grant: GrantWords | None = None
    refusal: RefusalWords | None = None


class PartWords(_Words, frozen=True, kw_only=True):
    """What a lease does not need any more in one account; `total` counts, once."""

    account: AccountWords
    amount: _Amount
    total: _Amount
    is_last: bool = False
    part: _Count = 0
    known: _Amount | None = None


class GiveBackQuestion(_Words, frozen=True, kw_only=True):
    """Take back what a lease does not need, and let it live on; with no parts, only that."""

    lease: LeaseWords
    parts: Annotated[tuple[PartWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)] = ()

    def values(self) -> tuple[GivenBack, ...]:
        """Return what goes back."""
        return tuple(
            [
                GivenBack(
                    account=one.account.value(),
                    amount=_read("amount", one.amount),
                    total=_read("total", one.total),
                    is_last=one.is_last,
                    part=one.part,
                    known=None if one.known is None else _read("known", one.known),
                )
                for one in self.parts
            ]
        )


class LifeAnswer(_Words, frozen=True, kw_only=True):
    """How long a lease lives from the moment at which this was asked for."""

    life_seconds: float | None = None


class ChargeWords(_Words, frozen=True, kw_only=True):
    """What one call puts into one account."""

    budget_id: _Name
    scope: _Scope = ""
    period: _Name = ""
    unit: BudgetUnit = "usd"
    posted: _Signed
    unresolved: _Signed = "0"
    drawn: _Amount | None = None


class SettlementWords(_Words, frozen=True, kw_only=True):
    """What a finished call puts into its accounts; told twice, it counts once."""

    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
    lease_id: _Name | None = None
    charges: Annotated[tuple[ChargeWords, ...], msgspec.Meta(max_length=MOST_CHARGES)]

    def value(self) -> Settlement:
        """Return what is to be charged."""
        return Settlement(
            call_id=self.call_id,
            lease_id=self.lease_id,
            charges=tuple([_charge(charge) for charge in self.charges]),
        )


class SettleQuestion(_Words, frozen=True, kw_only=True):
    """Charge finished calls, each once."""

    settlements: Annotated[tuple[SettlementWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)]

    def values(self) -> tuple[Settlement, ...]:
        """Return what is to be charged."""
        return tuple([one.value() for one in self.settlements])


class RefusedWords(_Words, frozen=True, kw_only=True):
    """A settlement that was not made, and why; to tell it again by the same key is of no use."""

    call_id: str
    why: str


class SettleAnswer(_Words, frozen=True, kw_only=True):
    """All was charged but what is `refused`."""

    refused: tuple[RefusedWords, ...] = ()


class TouchQuestion(_Words, frozen=True, kw_only=True):
    """The owner of an account is active: which period of the idle window is it?"""

    account: AccountWords
    idle_seconds: Annotated[int, msgspec.Meta(ge=1, le=10**10)]
    ago_ns: _Amount = "0"
    is_known: bool = False
    is_look: bool = False

    def value(self) -> Touch:
        """Return what is meant."""
        return Touch(
            account=self.account.value(),
            idle_seconds=self.idle_seconds,
            ago_ns=_read("ago_ns", self.ago_ns),
            is_known=self.is_known,
            is_look=self.is_look,
        )


class TouchAnswer(_Words, frozen=True, kw_only=True):
    """The key of the period."""

    period: str


class BalancesQuestion(_Words, frozen=True, kw_only=True):
    """How do accounts stand?"""

    accounts: Annotated[tuple[AccountWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)]


class BalanceWords(_Words, frozen=True, kw_only=True):
    """How an account stands, in its unit."""

    account: AccountWords
    posted: _Sum
    held: _Sum
    unresolved: _Sum

    def value(self) -> Balance:
        """Return what is meant."""
        return Balance(
            account=self.account.value(),
            posted=int(self.posted),
            held=int(self.held),
            unresolved=int(self.unresolved),
        )


class BalancesAnswer(_Words, frozen=True, kw_only=True):
    """How they stand, in the question's order."""

    balances: tuple[BalanceWords, ...]


class FirstQuestion(_Words, frozen=True, kw_only=True):
    """Was it told before that an account passed a share of its limit? Noted now."""

    account: AccountWords
    share: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^-?[0-9]{1,20}(\.[0-9]{1,40})?$")]


class FirstAnswer(_Words, frozen=True, kw_only=True):
    """Nobody had told it."""

    is_first: bool


class UnresolvedWords(_Words, frozen=True, kw_only=True):
    """What an ended lease leaves open in one account."""

    lease_id: _Name
    account: AccountWords
    amount: _Sum
    since_unix_ns: _Sum


class UnresolvedAnswer(_Words, frozen=True, kw_only=True):
    """What ended leases leave open, oldest first."""

    unresolved: tuple[UnresolvedWords, ...]

    def values(self) -> tuple[Unresolved, ...]:
        """Return what is meant."""
        return tuple(
            [
                Unresolved(
                    lease_id=one.lease_id,
                    account=one.account.value(),
                    amount=int(one.amount),
                    since_unix_ns=int(one.since_unix_ns),
                )
                for one in self.unresolved
            ]
        )


class ResolveQuestion(_Words, frozen=True, kw_only=True):
    """Settle by hand what an ended lease leaves open in an account."""

    lease_id: _Name
    account: AccountWords
    spent: _Amount

    def amount(self) -> int:
        """Return what was spent."""
        return _read("spent", self.spent)


class EpochAnswer(_Words, frozen=True, kw_only=True):
    """The epoch in which the authority grants, none while it is not open; and the server's time."""

    epoch: str | None = None
    clock_unix_ns: _Sum = "0"


class DoneAnswer(_Words, frozen=True, kw_only=True):
    """It was done."""


class ExpireAnswer(_Words, frozen=True, kw_only=True):
    """How many leases have ended."""

    ended: int


class FoldRowWords(_Words, frozen=True, kw_only=True):
    """An account in which nothing is held or unresolved, and its mark."""

    account: AccountWords
    posted: _Sum
    mark: _Count = 0

    def value(self) -> FoldRow:
        """Return what is meant."""
        return FoldRow(account=self.account.value(), posted=int(self.posted), mark=self.mark)


class LookQuestion(_Words, frozen=True, kw_only=True):
    """Show so many accounts at most to whoever folds them."""

    most: Annotated[int, msgspec.Meta(ge=0, le=MOST_AT_ONCE)]


class LookAnswer(_Words, frozen=True, kw_only=True):
    """What there is to fold."""

    state: str
    now_unix_ns: _Sum
    rows: tuple[FoldRowWords, ...] = ()
    cursor: str = ""


class MarkWords(_Words, frozen=True, kw_only=True):
    """A row that gets a mark."""

    row: FoldRowWords
    mark: _Count


class FoldWords(_Words, frozen=True, kw_only=True):
    """A row that goes, and the account that gets what is posted there."""

    row: FoldRowWords
    into: AccountWords | None = None


class FoldQuestion(_Words, frozen=True, kw_only=True):
    """Fold accounts, all of it or nothing."""

    was: _Scope
    state: _Scope
    cursor: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[0-9a-f-]*$")] = ""
    marks: Annotated[tuple[MarkWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)] = ()
    folds: Annotated[tuple[FoldWords, ...], msgspec.Meta(max_length=MOST_AT_ONCE)] = ()

    def value(self) -> FoldOrder:
        """Return what is to be done."""
        return FoldOrder(
            was=self.was,
            state=self.state,
            cursor=self.cursor,
            marks=tuple([(one.row.value(), one.mark) for one in self.marks]),
            folds=tuple(
                [
                    (one.row.value(), None if one.into is None else one.into.value())
                    for one in self.folds
                ]
            ),
        )


class FoldAnswer(_Words, frozen=True, kw_only=True):
    """It was done."""

    is_done: bool


def _charge(words: ChargeWords) -> Charge:
    return Charge(
        budget_id=words.budget_id,
        scope=words.scope,
        period=words.period,
        unit=words.unit,
        posted=_read("posted", words.posted),
        unresolved=_read("unresolved", words.unresolved),
        drawn=None if words.drawn is None else _read("drawn", words.drawn),
    )


def _read(name: str, digits: str) -> int:
    """Read an amount.

    Raises:
        TooLargeError: It has more than 63 bits.
    """
    amount = int(digits)
    if abs(amount) > MOST_AMOUNT:
        raise TooLargeError(f"{name}: expected an amount up to {MOST_AMOUNT}")
    return amount
