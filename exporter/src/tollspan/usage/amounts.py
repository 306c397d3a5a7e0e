"""Amounts of budgets, written for people and as plain decimals."""

from __future__ import annotations

from .cost import format_usd
from .units import SECONDS, BudgetUnit, parts_of


def format_amount(amount: int, unit: BudgetUnit) -> str:
    """Write an amount for a message to people: `1.50 USD`, `1 call`, `50000 tokens`."""
    if unit == "usd":
        return f"{format_usd(amount, places=2)} USD"
    number = to_decimal(amount, unit)
    return f"{number} {unit_word(unit, is_one=number == '1')}"


def to_decimal(amount: int, unit: BudgetUnit) -> str:
    """Write an amount as an exact decimal in its unit, USD for money: `0.0055` say."""
    if unit == "usd":
        return format_usd(amount, places=0)
    if unit != SECONDS:
        return str(amount)
    whole, part = divmod(abs(amount), parts_of(unit))
    digits = f".{part:03d}".rstrip("0") if part else ""
    return f"{'-' * (amount < 0)}{whole}{digits}"


def unit_word(unit: BudgetUnit, *, is_one: bool = False) -> str:
    """Name a unit as people write it: `USD`, `input tokens`, `web searches`.

    Args:
        unit: The unit.
        is_one: Of one of it: `input token`.
    """
    if unit == "usd":
        return "USD"
    words = unit.replace("_", " ")
    if not is_one or not words.endswith("s") or words.endswith("ss"):
        return words
    return words[:-2] if words.endswith(("ches", "shes")) else words[:-1]
