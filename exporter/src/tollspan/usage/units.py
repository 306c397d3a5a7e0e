"""What budgets count, as units with names, and how much of one a list of quantities holds."""

from __future__ import annotations

from typing import Final

from .cost import NANOUSD_PER_USD
from .usage import TOOL_CALLS, UNITS, Quantities

BudgetUnit = str
"""What a budget counts. Amounts are whole numbers of it; of `usd` nano-USD, of `seconds`
milliseconds. Besides those in `BUDGET_UNITS` it is a unit of the caller's own tools."""
SECONDS: Final = "seconds"
REQUESTS: Final = "requests"
INPUT_TOKENS: Final = "input_tokens"
OUTPUT_TOKENS: Final = "output_tokens"
TOKEN_UNITS: Final = frozenset({"tokens", INPUT_TOKENS, OUTPUT_TOKENS})
_TIME = "_ms"
_MS_PER_SECOND = 1_000
BUDGET_UNITS: Final[tuple[BudgetUnit, ...]] = (
    "usd",
    "tokens",
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    "calls",
    SECONDS,
    *(unit for unit in UNITS if unit != TOOL_CALLS and not unit.endswith(_TIME)),
)
"""Every unit that is not a tool's own."""


def parts_of(unit: BudgetUnit) -> int:
    """Return how many of an amount make one of its unit: nano-USD, milliseconds, else the same."""
    if unit == "usd":
        return NANOUSD_PER_USD
    return _MS_PER_SECOND if unit == SECONDS else 1


def count_of(unit: BudgetUnit, quantities: Quantities) -> int:
    """Return how much of a unit is in quantities, whatever their variants.

    Args:
        unit: What is counted. Of `seconds` all audio and video, heard, spoken, seen or made, and
            what tools count in seconds, in milliseconds.
        quantities: (unit, count) pairs.
    """
    return sum([count * _weight(unit, name) for name, count in quantities])


def is_counted(unit: BudgetUnit, names: tuple[str, ...]) -> bool:
    """Say whether one of these, as quantities name them, is counted in a unit."""
    return any(_weight(unit, name) for name in names)


def _weight(unit: BudgetUnit, name: str) -> int:
    """Return what one of a quantity adds to an amount of the unit."""
    base = name.partition(":")[0]
    if base == unit:
        return parts_of(unit)
    return int(unit == SECONDS and base.endswith(_TIME))
