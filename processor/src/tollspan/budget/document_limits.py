"""Reads the amounts of budgets: `limit`, and the `limits` of single values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

import yaml

from tollspan.usage import (
    BUDGET_UNITS,
    SECONDS,
    TOKEN_BUCKETS,
    TOOL_CALLS,
    BudgetUnit,
    ConfigError,
    DocumentReader,
    unit_word,
)

from .rules import OwnLimit

LIMIT_KEY = "limit"
# Commas stand between thousands alone: what is half of something elsewhere is no guess of ours.
_AMOUNT = re.compile(
    r"(-?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?\s*"
    r"(?![eE][0-9])([A-Za-z][A-Za-z0-9_]*(?: [A-Za-z][A-Za-z0-9_]*)*)"
)
OWN_UNIT = r"[a-z][a-z0-9_]{0,63}"
"""Pattern of a unit of tools, as the program names it."""
NO_OWN_UNITS = (*TOKEN_BUCKETS, TOOL_CALLS, "usd")
"""What no unit of tools may be called."""
_DECIMALS: dict[BudgetUnit, int] = {"usd": 9, SECONDS: 3}
# Sums of two of the largest limits stay inside SQLite's signed 64 bits.
_MOST_USD, _MOST_PARTS = 10**18, 10**15
_MOST_DIGITS = 20
_TOO_MUCH: int = 10**_MOST_DIGITS
_FINEST: dict[BudgetUnit, str] = {
    "usd": "at most 9 decimals (nano-USD) are exact",
    SECONDS: "at most 3 decimals (milliseconds) are exact",
}
_GLOB = re.compile(r"[*?[]")


def _unit_words() -> dict[str, BudgetUnit]:
    """Return how units may be written: `web searches`, `web_search`."""
    found: dict[str, BudgetUnit] = {}
    for unit in BUDGET_UNITS:
        for is_one in (False, True):
            word = unit_word(unit, is_one=is_one)
            found[word] = found[word.replace(" ", "_")] = unit
    return found


_KNOWN = (
    f"{', '.join(unit_word(unit) for unit in BUDGET_UNITS)}; or a unit of tools of your own, "
    "which the budget then names: `where: {tool: …}`"
)
UNIT_WORDS: Mapping[str, BudgetUnit] = MappingProxyType(_unit_words())
"""How the units that are not a tool's own may be written."""


def read_amount(
    reader: DocumentReader, node: yaml.Node, name: str, *, is_of_tools: bool = False
) -> tuple[int, BudgetUnit]:
    """Read an amount with its unit, `49.50 USD` say.

    Args:
        reader: Reads the document.
        node: The amount.
        name: The key that it is written at.
        is_of_tools: The budget names tools, and so may count a unit of theirs.

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
    unit = UNIT_WORDS.get(word)
    if unit is None and is_of_tools and re.fullmatch(OWN_UNIT, word) and word not in NO_OWN_UNITS:
        unit = word
    if unit is None:
        reader.fail(node, f"`{name}` is in {word}; expected {_KNOWN}")
    decimals = _DECIMALS.get(unit, 0)
    part = part.rstrip("0")
    if len(part) > decimals:
        reader.fail(node, f"`{name}` is {text!r}; {_FINEST.get(unit, 'no decimals')}")
    digits = re.sub("[_,]", "", whole).lstrip("0") + part.ljust(decimals, "0")
    amount = int(digits or "0") if len(digits) <= _MOST_DIGITS else _TOO_MUCH
    if sign and amount:
        reader.fail(node, f"`{name}` is negative ({text!r}); 0 {word} allows nothing")
    if amount > (_MOST_USD if unit == "usd" else _MOST_PARTS):
        reader.fail(node, f"`{name}` is {text!r}; the largest is {_largest(unit)}")
    return amount, unit


def parse_amount(text: str, name: str, unit: BudgetUnit) -> int:
    """Read an amount in a unit from a text of its own, `10 USD` say.

    Args:
        text: The text.
        name: What it was given as, for errors.
        unit: The unit that it must be in.

    Raises:
        ConfigError: It is none, or in another unit.
    """
    reader = DocumentReader(name)
    node = reader.compose(text)
    if node is None:
        raise ConfigError(f"{name} is empty; expected an amount such as `10 {unit_word(unit)}`")
    amount, found = read_amount(reader, node, name, is_of_tools=True)
    if found != unit:
        raise ConfigError(f"{name} is in {unit_word(found)}; this budget counts {unit_word(unit)}")
    return amount


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
    amount, found = read_amount(reader, node, name, is_of_tools=unit not in BUDGET_UNITS)
    if found != unit:
        words = unit_word(found), unit_word(unit)
        reader.fail(node, f"`{name}` is in {words[0]}; expected {words[1]}, as in `limit`")
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


def _largest(unit: BudgetUnit) -> str:
    if unit == "usd":
        return "1,000,000,000 USD"
    return f"10^{12 if unit == SECONDS else 15} {unit_word(unit)}"
