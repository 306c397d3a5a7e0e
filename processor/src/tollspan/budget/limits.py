"""Finds whose limit is another than a budget's: the `limits` of single values."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

from .rules import Budget


class Limits:
    """The limits of one budget's accounts, by the values that divide it.

    A look-up costs as much with ten thousand values as with one.
    """

    __slots__ = ("_by_keys", "_limit")

    def __init__(self, budget: Budget) -> None:
        self._limit = budget.limit
        self._by_keys: dict[tuple[str, ...], dict[tuple[str | None, ...], tuple[int, int]]] = {}
        for number, own in enumerate(budget.limits):
            keys = tuple([key for key, _ in own.values])
            values = tuple([value for _, value in own.values])
            self._by_keys.setdefault(keys, {}).setdefault(values, (number, own.limit))

    def of(self, scope: Mapping[str, str | None]) -> int:
        """Return the limit of an account: the first in the document that is for its values.

        Args:
            scope: Dimension → value of all by which the budget is divided.
        """
        found = [
            own
            for keys, values in self._by_keys.items()
            if (own := values.get(tuple([scope.get(key) for key in keys])))
        ]
        return min(found, key=itemgetter(0))[1] if found else self._limit
