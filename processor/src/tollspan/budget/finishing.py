"""What a budget keeps for calls that the program marks as finishing."""

from __future__ import annotations

import re
from decimal import Decimal

import yaml

from tollspan.usage import DocumentReader

from .rules import Budget

_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,7})?)\s*%")
_SHARE = re.compile(r"0?\.[0-9]{1,9}")


def read_finish_reserve(reader: DocumentReader, node: yaml.Node | None) -> Decimal:
    """Read a share of a limit, `5%` or `0.05`; 0 where nothing is written.

    Raises:
        ConfigError: It is none, or all of the limit or nothing.
    """
    if node is None:
        return Decimal(0)
    text = reader.text(node, "finish_reserve")
    percent = _PERCENT.fullmatch(text.strip())
    share = Decimal(0)
    if percent is not None:
        share = Decimal(percent[1]) / 100
    elif _SHARE.fullmatch(text.strip()):
        share = Decimal(text.strip())
    if not share:
        reader.fail(
            node,
            f"`finish_reserve` is {text!r}; expected a share of the limit, more than nothing and "
            "less than all, such as `5%`",
        )
    return share


def limit_for(budget: Budget, limit: int, *, is_finishing: bool) -> int:
    """Return how much of a limit a call may use: of what is kept, only finishing calls any."""
    reserve = budget.finish_reserve
    return limit if is_finishing or not reserve else int(limit * (1 - reserve))


def percent(share: Decimal) -> str:
    """Write a share for people, `5 %` say."""
    return f"{(share * 100).normalize():f} %"
