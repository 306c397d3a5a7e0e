"""How questions to the PostgreSQL authority are put into JSON, and what its answers mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from tollspan.budget import (
    IDLE_MEMORY_SECONDS,
    IDLE_ROWS_AT_ONCE,
    Account,
    AccountPage,
    Balance,
    FoldLook,
    FoldOrder,
    FoldRow,
    GivenBack,
    Lease,
    Refusal,
    Settlement,
    Touch,
    Unresolved,
    Want,
    account_of,
    lasts_ns,
    plain_period,
    read_idle,
)

Words = dict[str, Any]
"""A question or an answer in JSON; whole numbers of any size stay exact."""


def digest(*names: str) -> str:
    """Return 128 bits that stand for names, as a UUID is written."""
    return hashlib.blake2b(json.dumps(names).encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=10_000)
def key_of(budget_id: str, scope: str, period: str, unit: str) -> str:
    """Return what names an account in the database."""
    return digest(budget_id, scope, period, unit)


def key(account: Account) -> str:
    """Return what names an account in the database."""
    return key_of(account.budget_id, account.scope, account.period, account.unit)


def _named(budget_id: str, scope: str, period: str, unit: str) -> Words:
    return {
        "key": key_of(budget_id, scope, period, unit),
        "budget_id": budget_id,
        "scope": scope,
        "period": period,
        "unit": unit,
    }


def lease_words(lease: Lease) -> Words:
    """Put into words which lease it is, and what its holder has heard of it."""
    return {"lease": lease.id, "epoch": lease.epoch, "heard": lease.heard}


def want_words(wants: Sequence[Want]) -> list[Words]:
    """Put wants into words, numbered."""
    return [
        {
            **_named(
                want.account.budget_id, want.account.scope, want.account.period, want.account.unit
            ),
            "nth": nth,
            "part": want.part,
            "is_soft": want.account.is_soft,
            "known": want.known,
            "need": want.need,
            "wish": want.wish,
            "most": want.account.limit,
        }
        for nth, want in enumerate(wants)
    ]


def given_words(parts: Sequence[GivenBack]) -> list[Words]:
    """Put what goes back into words: `known` is what was granted at least, `told` if all of it."""
    return [
        {
            "key": key(one.account),
            "part": one.part,
            "total": one.total,
            "known": one.known or one.total,
            "told": one.known,
            "is_last": one.is_last,
        }
        for one in parts
    ]


def touch_words(touch: Touch) -> Words:
    """Put into words who is active."""
    account = touch.account
    return {
        "key": digest(account.budget_id, account.scope),
        "account": key(account),
        "period": account.period,
        "lasts": lasts_ns(touch.idle_seconds) / 1e9,
        "ago": touch.ago_ns / 1e9,
        "memory": IDLE_MEMORY_SECONDS,
        "is_known": touch.is_known,
        "is_look": touch.is_look,
    }


def settlement_words(settlements: Sequence[Settlement]) -> list[Words]:
    """Put settlements into words."""
    return [
        {
            "key": digest(one.call_id),
            "lease": one.lease_id,
            "charges": [
                {
                    **_named(charge.budget_id, charge.scope, charge.period, charge.unit),
                    "posted": charge.posted,
                    "unresolved": charge.unresolved,
                    "drawn": (
                        charge.posted + charge.unresolved if charge.drawn is None else charge.drawn
                    ),
                }
                for charge in one.charges
            ],
        }
        for one in settlements
    ]


def refusal(wants: Sequence[Want], short: list[list[int]], *, is_held: bool = False) -> Refusal:
    """Return which wants don't fit.

    Args:
        wants: What was asked.
        short: Of each that does not fit its number, and the account's posted, held, unresolved.
        is_held: It was granted all the same.
    """
    return Refusal(
        balances=tuple([balance(wants[nth].account, sums) for nth, *sums in short]),
        asked=tuple([wants[nth].need for nth, *_ in short]),
        is_held=is_held,
    )


def balance(account: Account, sums: Sequence[int]) -> Balance:
    """Return how an account stands, by what is posted, held and unresolved there."""
    posted, held, unresolved = sums
    return Balance(account=account, posted=posted, held=held, unresolved=unresolved)


def accounts(answer: Words) -> AccountPage:
    """Return the accounts that are shown."""
    found = [balance(account_of(tuple(one[:4])), one[4:]) for one in answer["rows"]]
    return AccountPage(balances=tuple(found), cursor=answer["cursor"] or "")


def look(answer: Words) -> FoldLook:
    """Return the accounts that are shown."""
    rows = [
        FoldRow(
            account=Account(budget_id=budget_id, scope=scope, period=period, unit=unit, limit=0),
            posted=posted,
            mark=mark,
        )
        for budget_id, scope, period, unit, posted, mark in answer["rows"]
    ]
    return FoldLook(
        state=answer["state"],
        now_unix_ns=answer["now"],
        rows=tuple(rows),
        cursor=answer["cursor"] or "",
    )


def order_words(order: FoldOrder) -> Words:
    """Put into words what is to be folded; what has no next mark goes."""
    marks = [{**_shown(row), "next_mark": mark} for row, mark in order.marks]
    folds: list[Words] = []
    for row, into in order.folds:
        folds.append(_shown(row))
        if into is not None:
            named = _named(into.budget_id, into.scope, into.period, into.unit)
            folds[-1] |= {**named, "into_key": named["key"], "key": key(row.account)}
    return {
        "was": order.was,
        "state": order.state,
        "cursor": order.cursor or None,
        "orders": marks + folds,
        "memory": IDLE_MEMORY_SECONDS,
        "owners": IDLE_ROWS_AT_ONCE,
    }


def _shown(row: FoldRow) -> Words:
    account = row.account
    shown: Words = {"key": key(account), "posted": row.posted, "mark": row.mark}
    period = plain_period(account.period)
    if read_idle(period) is not None:
        shown |= {"owner": digest(account.budget_id, account.scope), "owned": period}
    return shown


def left_open(row: Sequence[Any]) -> Unresolved:
    """Return what an ended lease leaves open."""
    lease_id, budget_id, scope, period, unit, amount, since_unix_ns = row
    return Unresolved(
        lease_id=lease_id,
        account=Account(budget_id=budget_id, scope=scope, period=period, unit=unit, limit=0),
        amount=amount,
        since_unix_ns=since_unix_ns,
    )


NO_SUMS: Final = (0, 0, 0)
