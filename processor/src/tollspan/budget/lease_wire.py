"""Writes questions to an authority and its answers for HTTP, and reads them.

Amounts are strings of decimal digits, as all money on the wire is: no reader rounds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tollspan.usage import Charge

from .folding import FoldLook, FoldOrder, FoldRow
from .idle import Touch
from .lease_words import (
    AccountWords,
    BalanceWords,
    ChargeWords,
    FoldQuestion,
    FoldRowWords,
    FoldWords,
    GiveBackQuestion,
    GrantAnswer,
    GrantQuestion,
    GrantWords,
    LeaseWords,
    LookAnswer,
    MarkWords,
    PartWords,
    RefusalWords,
    SettlementWords,
    SettleQuestion,
    TouchQuestion,
    UnresolvedAnswer,
    UnresolvedWords,
    WantWords,
)
from .leases import GivenBack, Grant, Lease, Settlement, Unresolved, Want
from .values import Account, Balance, Refusal


def account_words(account: Account) -> AccountWords:
    """Write an account."""
    return AccountWords(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        limit=str(account.limit),
        is_soft=account.is_soft,
    )


def lease_words(lease: Lease) -> LeaseWords:
    """Write a lease."""
    return LeaseWords(holder=lease.holder, fence=lease.fence, epoch=lease.epoch, heard=lease.heard)


def grant_question(lease: Lease, wants: Sequence[Want]) -> GrantQuestion:
    """Write what is wanted."""
    return GrantQuestion(
        lease=lease_words(lease),
        wants=tuple(
            [
                WantWords(
                    account=account_words(one.account),
                    known=str(one.known),
                    need=str(one.need),
                    wish=str(one.wish),
                    part=one.part,
                )
                for one in wants
            ]
        ),
    )


def give_back_question(lease: Lease, parts: Sequence[GivenBack]) -> GiveBackQuestion:
    """Write what goes back."""
    return GiveBackQuestion(
        lease=lease_words(lease),
        parts=tuple(
            [
                PartWords(
                    account=account_words(one.account),
                    amount=str(one.amount),
                    total=str(one.total),
                    is_last=one.is_last,
                    part=one.part,
                    known=None if one.known is None else str(one.known),
                )
                for one in parts
            ]
        ),
    )


def settle_question(settlements: Sequence[Settlement]) -> SettleQuestion:
    """Write what is to be charged."""
    return SettleQuestion(
        settlements=tuple(
            [
                SettlementWords(
                    call_id=one.call_id,
                    lease_id=one.lease_id,
                    charges=tuple([_charge_words(charge) for charge in one.charges]),
                )
                for one in settlements
            ]
        )
    )


def grant_answer(answer: Grant | Refusal) -> GrantAnswer:
    """Write what was granted, or refused."""
    if isinstance(answer, Refusal):
        return GrantAnswer(refusal=_refusal_words(answer))
    return GrantAnswer(
        grant=GrantWords(
            totals=tuple([str(one) for one in answer.totals]),
            life_seconds=answer.life_seconds,
            short=None if answer.short is None else _refusal_words(answer.short),
            epoch=answer.epoch,
            number=answer.number,
        )
    )


def read_grant(answer: GrantAnswer) -> Grant | Refusal:
    """Read it."""
    found = answer.grant
    if found is None:
        return _refusal(answer.refusal or RefusalWords(balances=(), asked=()))
    return Grant(
        totals=tuple([int(one) for one in found.totals]),
        life_seconds=found.life_seconds,
        short=None if found.short is None else _refusal(found.short),
        epoch=found.epoch,
        number=found.number,
    )


def balance_words(balance: Balance) -> BalanceWords:
    """Write how an account stands."""
    return BalanceWords(
        account=account_words(balance.account),
        posted=str(balance.posted),
        held=str(balance.held),
        unresolved=str(balance.unresolved),
    )


def _refusal_words(refusal: Refusal) -> RefusalWords:
    return RefusalWords(
        balances=tuple([balance_words(one) for one in refusal.balances]),
        asked=tuple([str(one) for one in refusal.asked]),
        is_held=refusal.is_held,
    )


def _refusal(words: RefusalWords) -> Refusal:
    return Refusal(
        balances=tuple([one.value() for one in words.balances]),
        asked=tuple([int(one) for one in words.asked]),
        is_held=words.is_held,
    )


def _charge_words(charge: Charge) -> ChargeWords:
    return ChargeWords(
        budget_id=charge.budget_id,
        scope=charge.scope,
        period=charge.period,
        unit=charge.unit,
        posted=str(charge.posted),
        unresolved=str(charge.unresolved),
        drawn=None if charge.drawn is None else str(charge.drawn),
    )


def touch_question(touch: Touch) -> TouchQuestion:
    """Write who is active."""
    return TouchQuestion(
        account=account_words(touch.account),
        idle_seconds=touch.idle_seconds,
        ago_ns=str(touch.ago_ns),
        is_known=touch.is_known,
        is_look=touch.is_look,
    )


def unresolved_answer(found: Sequence[Unresolved]) -> UnresolvedAnswer:
    """Write what ended leases leave open."""
    return UnresolvedAnswer(
        unresolved=tuple(
            [
                UnresolvedWords(
                    lease_id=one.lease_id,
                    account=account_words(one.account),
                    amount=str(one.amount),
                    since_unix_ns=str(one.since_unix_ns),
                )
                for one in found
            ]
        )
    )


def look_answer(look: FoldLook) -> LookAnswer:
    """Write what there is to fold."""
    return LookAnswer(
        state=look.state,
        now_unix_ns=str(look.now_unix_ns),
        rows=tuple([_fold_row_words(one) for one in look.rows]),
        cursor=look.cursor,
    )


def read_look(answer: LookAnswer) -> FoldLook:
    """Read it."""
    return FoldLook(
        state=answer.state,
        now_unix_ns=int(answer.now_unix_ns),
        rows=tuple([one.value() for one in answer.rows]),
        cursor=answer.cursor,
    )


def fold_question(order: FoldOrder) -> FoldQuestion:
    """Write what is to be folded."""
    return FoldQuestion(
        was=order.was,
        state=order.state,
        cursor=order.cursor,
        marks=tuple([MarkWords(row=_fold_row_words(row), mark=mark) for row, mark in order.marks]),
        folds=tuple(
            [
                FoldWords(
                    row=_fold_row_words(row), into=None if into is None else account_words(into)
                )
                for row, into in order.folds
            ]
        ),
    )


def _fold_row_words(row: FoldRow) -> FoldRowWords:
    return FoldRowWords(account=account_words(row.account), posted=str(row.posted), mark=row.mark)
