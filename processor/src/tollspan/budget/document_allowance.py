"""Reads how much may be spent while the authority can't answer."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

import yaml

from tollspan.usage import DocumentReader, format_amount

from .allowances import Allowance
from .document_limits import read_amount
from .finishing import percent

ALLOW_UP_TO: Final = "allow_up_to"
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,7})?)\s*%")
_SHARE = re.compile(r"(?:0?\.[0-9]{1,9}|1(?:\.0{1,9})?)")


def read_allowance(reader: DocumentReader, node: yaml.Node) -> Allowance:
    """Read `{allow_up_to: 5%}`; a share is written as `5%` or `0.05`, an amount as `2 USD`.

    Raises:
        ConfigError: It is none, or allows nothing, or more than a limit once again.
    """
    keys = reader.mapping(node, "on_unavailable")
    reader.only(keys, (ALLOW_UP_TO,), "on_unavailable")
    written = keys.get(ALLOW_UP_TO)
    if written is None:
        reader.fail(node, f"`on_unavailable` has no `{ALLOW_UP_TO}`; write `{ALLOW_UP_TO}: 5%`")
    text = reader.text(written, ALLOW_UP_TO).strip()
    share = _share(text)
    if share is not None and 0 < share <= 1:
        return Allowance(share=share)
    if share is None and text[-1:].isalpha():
        amount, unit = read_amount(reader, written, ALLOW_UP_TO)
        if amount:
            return Allowance(amount=amount, unit=unit)
    return reader.fail(
        written,
        f"`{ALLOW_UP_TO}` is {text!r}; expected a share of each limit, more than nothing and at "
        "most all of it, such as `5%`, or an amount such as `2 USD`",
    )


def _share(text: str) -> Decimal | None:
    written = _PERCENT.fullmatch(text)
    if written is not None:
        return Decimal(written[1]) / 100
    return Decimal(text) if _SHARE.fullmatch(text) else None


def allowance_words(allowance: Allowance) -> str:
    """Say how much that is, for people."""
    if allowance.share is not None:
        return f"{percent(allowance.share)} of each limit"
    return f"{format_amount(allowance.amount, allowance.unit)} beside each limit"
