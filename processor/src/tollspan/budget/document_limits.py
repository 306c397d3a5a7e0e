"""Reads the amounts of budgets: `limit`, and the `limits` of single values."""

from __future__ import annotations

import re
from typing import NoReturn

import yaml

from tollspan.usage import BudgetUnit, DocumentReader

from .rules import OwnLimit

LIMIT_KEY = "limit"
# Commas stand between thousands alone: what is half of something elsewhere is no guess of ours.
_AMOUNT = re.compile(
    r"(-?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?\s*([A-Za-z]+)"
)
_UNITS: dict[str, BudgetUnit] = {
    "USD": "usd",
    "token": "tokens",
    "tokens": "tokens",
    "call": "calls",
    "calls": "calls",
}
# Sums of two of the largest limits stay inside SQLite's signed 64 bits.
_MOST: dict[BudgetUnit, int] = {"usd": 10**18, "tokens": 10**15, "calls": 10**15}
_DECIMALS: dict[BudgetUnit, int] = {"usd": 9, "tokens": 0, "calls": 0}
_MOST_DIGITS = 20
_TOO_MUCH: int = 10**_MOST_DIGITS
_LARGEST: dict[BudgetUnit, str] = {
    "usd": "1,000,000,000 USD",
    "tokens": "10^15 tokens",
    "calls": "10^15 calls",
}
_GLOB = re.compile(r"[*?[]")


def read_amount(reader: DocumentReader, node: yaml.Node, name: str) -> tuple[int, BudgetUnit]:
    """Read an amount with its unit, `49.50 USD` say.

    Args:
        reader: Reads the document.
        node: The amount.
        name: The key that it is written at.

    Raises:
        ConfigError: It is none, or too large or too fine for the unit.
    """
    text = reader.text(node, name)
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        reader.fail(
            node,
            f"`{name}` is {text!r}; expected an amount such as `49.50 USD`, `50000 tokens` or "
            "`100 calls`",
        )
    sign, whole, part, word = match.groups("")
    unit = _UNITS.get(word)
    if unit is None:
        reader.fail(node, f"`{name}` is in {word}; expected USD, tokens or calls")
    decimals = _DECIMALS[unit]
    part = part.rstrip("0")
    if len(part) > decimals:
        finest = "at most 9 decimals (nano-USD) are exact" if unit == "usd" else "no decimals"
        reader.fail(node, f"`{name}` is {text!r}; {finest}")
    digits = re.sub("[_,]", "", whole).lstrip("0") + part.ljust(decimals, "0")
    amount = int(digits or "0") if len(digits) <= _MOST_DIGITS else _TOO_MUCH
    if sign and amount:
        reader.fail(node, f"`{name}` is negative ({text!r}); 0 {word} allows nothing")
    if amount > _MOST[unit]:
        reader.fail(node, f"`{name}` is {text!r}; the largest is {_LARGEST[unit]}")
    return amount, unit


def read_limits(
    reader: DocumentReader, node: yaml.Node | None, per: tuple[str, ...], unit: BudgetUnit
) -> tuple[OwnLimit, ...]:
    """Read the limits of single values.

    A mapping of values to amounts where one dimension divides the budget; else a list of mappings,
    each of one or more of the dimensions to a value, and `limit` to the amount.

    Args:
        reader: Reads the document.
        node: The limits; None without any.
        per: The dimensions that divide the budget.
        unit: What the budget counts.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return ()
    if not per:
        reader.fail(node, "`limits` needs `per`: name the dimension whose values these are")
    if isinstance(node, yaml.SequenceNode):
        found = [_listed(reader, item, per, unit) for item in node.value]
    elif len(per) == 1:
        found = _mapped(reader, node, per[0], unit)
    else:
        _several(reader, node, per)
    seen: set[tuple[tuple[str, str], ...]] = set()
    for own in found:
        if own.values in seen:
            reader.fail(node, f"`limits` has {_said(own.values)} twice")
        seen.add(own.values)
    return tuple(found)


def _mapped(reader: DocumentReader, node: yaml.Node, key: str, unit: BudgetUnit) -> list[OwnLimit]:
    values = reader.mapping(node, "limits")
    for written, _ in node.value:
        _check_value(reader, written, key)
    return [
        OwnLimit(((key, value),), _amount(reader, amount, f"limits.{value}", unit))
        for value, amount in values.items()
    ]


def _listed(
    reader: DocumentReader, node: yaml.Node, per: tuple[str, ...], unit: BudgetUnit
) -> OwnLimit:
    keys = reader.mapping(node, "an item of `limits`")
    reader.only(keys, (*per, LIMIT_KEY), "an item of `limits`")
    amount = keys.pop(LIMIT_KEY, None)
    if amount is None:
        reader.fail(node, f"an item of `limits` has no `{LIMIT_KEY}`")
    if not keys:
        reader.fail(node, f"an item of `limits` names no value; expected {' or '.join(per)}")
    for key, value in keys.items():
        _check_value(reader, value, key)
    values = tuple([(key, reader.text(keys[key], key)) for key in per if key in keys])
    return OwnLimit(values, _amount(reader, amount, LIMIT_KEY, unit))


def _check_value(reader: DocumentReader, node: yaml.Node, key: str) -> None:
    """Refuse what is no single value of a dimension."""
    text = reader.text(node, f"limits.{key}")
    if not text or reader.is_null(node):
        reader.fail(node, f"`limits` has no value of {key}; expected one such as `acme`")
    if _GLOB.search(text):
        reader.fail(
            node,
            f"`limits` names {text!r}; expected single values of {key}: for several, write another "
            "budget with `where`",
        )


def _amount(reader: DocumentReader, node: yaml.Node, name: str, unit: BudgetUnit) -> int:
    amount, found = read_amount(reader, node, name)
    if found != unit:
        reader.fail(node, f"`{name}` is in {_word(found)}; expected {_word(unit)}, as in `limit`")
    return amount


def _several(reader: DocumentReader, node: yaml.Node, per: tuple[str, ...]) -> NoReturn:
    example = ", ".join(f"{key}: …" for key in per)
    reader.fail(
        node,
        f"`limits` of a budget that is divided by {' and '.join(per)} is a list; expected items "
        f"such as `- {{{example}, limit: 500 USD}}`",
    )


def _said(values: tuple[tuple[str, str], ...]) -> str:
    return " and ".join(f"{key} {value!r}" for key, value in values)


def _word(unit: BudgetUnit) -> str:
    return "USD" if unit == "usd" else unit
