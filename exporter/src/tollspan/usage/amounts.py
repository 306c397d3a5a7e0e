"""Amounts of budgets, written for people and as plain decimals."""

from __future__ import annotations

from .cost import format_usd
from .events import BudgetUnit


def format_amount(amount: int, unit: BudgetUnit) -> str:
    """Write an amount for a message to people: `1.50 USD`, `1 call`, `50000 tokens`."""
    if unit == "usd":
        return f"{format_usd(amount, places=2)} USD"
    return f"{amount} {unit[:-1] if amount == 1 else unit}"


def to_decimal(amount: int, unit: BudgetUnit) -> str:
    """Write an amount as an exact decimal in its unit, USD for money: `0.0055` say."""
    return format_usd(amount, places=0) if unit == "usd" else str(amount)
