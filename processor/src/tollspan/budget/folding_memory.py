"""Folding of accounts that a process keeps in its memory."""

from __future__ import annotations

from .account_rows import Key, Row, account_of, key_of
from .allowances import plain_period
from .folding import FoldLook, FoldOrder, FoldRow
from .idle import IdleRows


class FoldMemory:
    """How far the accounts of an authority in memory were looked through. Its owner locks it.

    Args:
        rows: The accounts, which it shows and folds.
        idle: Which periods of idle windows run.
    """

    def __init__(self, rows: dict[Key, Row], idle: IdleRows) -> None:
        self._rows = rows
        self._idle = idle
        self._state = ""
        self._at = 0
        self._keys: list[Key] = []

    def look(self, most: int, now_unix_ns: int) -> FoldLook:
        """Show so many accounts at most, of those that there were when the run began."""
        if not most:
            return FoldLook(state=self._state, now_unix_ns=now_unix_ns)
        if not self._at:
            self._keys = list(self._rows)
        found: list[FoldRow] = []
        following = self._at + most
        for key in self._keys[self._at : following]:
            row = self._rows.get(key)
            if row is not None and not row.held and not row.unresolved:
                found.append(FoldRow(account=account_of(key), posted=row.posted, mark=row.mark))
        return FoldLook(
            state=self._state,
            now_unix_ns=now_unix_ns,
            rows=tuple(found),
            cursor=str(following) if following < len(self._keys) else "",
        )

    def fold(self, order: FoldOrder) -> list[Key] | None:
        """Do as told; return the accounts that are gone, or None where nothing was done."""
        if order.was != self._state:
            return None
        self._state, self._at = order.state, int(order.cursor or 0)
        if not self._at:
            self._keys = []
        for one, mark in order.marks:
            row = self._same(one)
            if row is not None:
                row.mark = 0 if self._runs(one) else mark
        gone: list[Key] = []
        for one, into in order.folds:
            row = self._same(one)
            if row is not None and self._runs(one):
                row.mark = 0
            elif row is not None:
                if into is not None:
                    self._rows.setdefault(key_of(into), Row()).posted += row.posted
                gone.append(key_of(one.account))
                del self._rows[gone[-1]]
        return gone

    def _runs(self, shown: FoldRow) -> bool:
        """Say whether a row is of the period of an idle window in which its owner is."""
        account = shown.account
        return self._idle.names(account.budget_id, account.scope, plain_period(account.period))

    def _same(self, shown: FoldRow) -> Row | None:
        """Find a row that is still as it was shown."""
        row = self._rows.get(key_of(shown.account))
        if row is None or row.held or row.unresolved or row.mark != shown.mark:
            return None
        return row if row.posted == shown.posted else None
