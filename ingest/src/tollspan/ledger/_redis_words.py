"""What the scripts of the Redis authority are told, and what they reply, as words and values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import msgspec

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
    lasts_ns,
)
from tollspan.usage import BudgetUnit

Word = str | bytes | int
_encode_name = json.JSONEncoder(separators=(",", ":")).encode
_UUID_CHARACTERS = 32


class Answer(msgspec.Struct, frozen=True):
    """What a script replied.

    Attributes:
        status: How it went.
        epoch: The authority's, afterwards; empty while it is closed.
        serial: Counts all changes of what the authority knows.
        words: The rest.
    """

    status: str
    epoch: str
    serial: int
    words: list[str]

    @property
    def why(self) -> str:
        """The reason, where there is one."""
        return " ".join(self.words)


def answer(found: Sequence[str]) -> Answer:
    """Read a script's reply."""
    status, epoch, serial, *words = found
    return Answer(status, epoch, int(serial), words)


def texts(found: object) -> list[str]:
    """Read a list of texts."""
    return [one.decode() for one in cast("list[bytes]", found)]


def page(found: object) -> tuple[str, list[str]]:
    """Read a page of a scan: the next cursor, and a flat list."""
    cursor, pairs = cast("tuple[bytes | int, dict[bytes, bytes]]", found)
    flat = [word.decode() for pair in pairs.items() for word in pair]
    return str(int(cursor)), flat


def name(account: Account) -> str:
    """Name an account, in ASCII whatever its owner is called."""
    return _encode_name([account.budget_id, account.scope, account.period, account.unit])


def touch(one: Touch) -> list[Word]:
    """Write who is active; the account's name is in two parts, the period comes between them."""
    account = one.account
    return [
        _encode_name([account.budget_id, account.scope]),
        f'",{_encode_name(account.unit)}]',
        account.period,
        lasts_ns(one.idle_seconds) // 1_000_000,
        IDLE_MEMORY_SECONDS * 1_000,
        int(one.is_known),
        int(one.is_look),
        one.ago_ns // 1_000_000,
    ]


def lease(one: Lease) -> list[Word]:
    """Write a lease."""
    return [one.id, one.epoch or "", one.heard]


def wants(several: Sequence[Want]) -> list[Word]:
    """Write what is wanted."""
    words: list[Word] = []
    for want in several:
        account = want.account
        words += (name(account), account.limit, int(account.is_soft))
        words += (want.known, want.need, want.wish, want.part)
    return words


def parts(several: Sequence[GivenBack]) -> list[Word]:
    """Write what goes back."""
    words: list[Word] = []
    for one in several:
        known = "" if one.known is None else one.known
        words += (name(one.account), one.total, int(one.is_last), one.part, known)
    return words


def settlements(several: Sequence[Settlement]) -> list[Word]:
    """Write what finished calls are charged."""
    words: list[Word] = []
    for one in several:
        words += (*_call(one.call_id), one.lease_id or "", len(one.charges))
        for charge in one.charges:
            used = charge.posted + charge.unresolved
            drawn = used if charge.drawn is None else charge.drawn
            account = _encode_name([charge.budget_id, charge.scope, charge.period, charge.unit])
            words += (account, charge.posted, charge.unresolved, drawn)
    return words


def _call(call_id: str) -> tuple[Word, Word]:
    """Return in which bucket of calls an id is kept, and as what.

    Ids of ours tell the time: those of 4 seconds go into one small hash, packed, at 20 bytes each
    instead of 100. A bucket is forgotten as a whole, so long after its last call.
    """
    if len(call_id) == _UUID_CHARACTERS and call_id[12] == "7":
        try:
            return call_id[:9], bytes.fromhex(call_id)
        except ValueError:
            pass
    return json.dumps(call_id), ""


def refusal(several: Sequence[Want], words: Sequence[str], *, is_held: bool) -> Refusal:
    """Read which accounts are short: position, posted, held and unresolved of each."""
    found = [(several[int(words[at])], words[at + 1 : at + 4]) for at in range(0, len(words), 4)]
    return Refusal(
        balances=tuple([_balance(want.account, sums) for want, sums in found]),
        asked=tuple([want.need for want, _ in found]),
        is_held=is_held,
    )


def balances(accounts: Sequence[Account], words: Sequence[str]) -> tuple[Balance, ...]:
    """Read how accounts stand: posted, held and unresolved of each."""
    found = [words[at : at + 3] for at in range(0, len(words), 3)]
    return tuple([_balance(*pair) for pair in zip(accounts, found, strict=True)])


def _balance(account: Account, sums: Sequence[str]) -> Balance:
    posted, held, unresolved = [int(one) for one in sums]
    return Balance(account=account, posted=posted, held=held, unresolved=unresolved)


def accounts(one: Answer) -> AccountPage:
    """Read accounts that are shown: of each the name, and what is posted, held and unresolved."""
    cursor, *rest = one.words
    found = [_balance(_account(rest[at]), rest[at + 1 : at + 4]) for at in range(0, len(rest), 4)]
    return AccountPage(balances=tuple(found), cursor=cursor)


def look(one: Answer) -> FoldLook:
    """Read accounts that are shown: of each the name, what is posted, and its mark."""
    state, now, cursor, *rest = one.words
    rows = [
        FoldRow(account=_account(rest[at]), posted=int(rest[at + 1]), mark=int(rest[at + 2]))
        for at in range(0, len(rest), 3)
    ]
    return FoldLook(state=state, now_unix_ns=int(now) * 1_000_000, rows=tuple(rows), cursor=cursor)


def order(one: FoldOrder) -> list[Word]:
    """Write what is to be folded."""
    words: list[Word] = [one.was, one.state, one.cursor, IDLE_ROWS_AT_ONCE, len(one.marks)]
    for row, mark in one.marks:
        words += (name(row.account), row.posted, row.mark, mark)
    for row, into in one.folds:
        words += (name(row.account), row.posted, row.mark, "" if into is None else name(into))
    return words


def unresolved(lease_id: str, fields: dict[str, str]) -> list[Unresolved]:
    """Read what an ended lease leaves open, from all that is kept of it."""
    if "ended_at" not in fields:
        return []  # forgotten this instant
    since_unix_ns = int(fields["ended_at"]) * 1_000_000
    found: list[Unresolved] = []
    for field, row in fields.items():
        if not field.startswith("["):
            continue
        counted_as, _, amount, *_ = row.split(" ")
        if counted_as != "posted" and amount != "0":
            found.append(
                Unresolved(
                    lease_id=lease_id,
                    account=_account(field),
                    amount=int(amount),
                    since_unix_ns=since_unix_ns,
                )
            )
    return found


def _account(field: str) -> Account:
    budget_id, scope, period, unit = cast("tuple[str, str, str, BudgetUnit]", json.loads(field))
    return Account(budget_id=budget_id, scope=scope, period=period, unit=unit, limit=0)
