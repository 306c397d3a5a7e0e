"""Money, numbers and times as people read them on the page; exact amounts stand beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from tollspan.usage import SECONDS, BudgetUnit, format_amount, to_decimal, unit_word

_NANO: Final = 10**9
_SHORT_PLACES: Final = 4
_KILO: Final = 1_000
_SIGNS: Final = ("", "k", "M", "G", "T")
_SECONDS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
NS_PER_SECOND: Final = 10**9


def money(nanousd: int) -> str:
    """Write an amount for people: whole cents from one USD up, else four digits that say something.

    What is not nothing never looks like nothing. Rounded half up, by whole numbers alone.
    """
    sign, amount = "-" if nanousd < 0 else "", abs(nanousd)
    places = 2
    if amount < _NANO:
        places = min(9, max(2, 9 - len(str(amount)) + _SHORT_PLACES)) if amount else 2
    unit = 10 ** (9 - places)
    whole, part = divmod((amount + unit // 2) // unit, 10**places)
    digits = f"{part:0{places}d}"
    kept = digits[:2] + digits[2:].rstrip("0")
    return f"{sign}${whole:,}.{kept}"


def amount(number: int, unit: BudgetUnit) -> str:
    """Write an amount of a budget: `$1.50`, `2,000 tokens`."""
    if unit == "usd":
        return money(number)
    return f"{number:,} {unit_word(unit)}" if unit != SECONDS else format_amount(number, unit)


def number(amount: int, unit: BudgetUnit) -> str:
    """Write an amount of a budget, of anything but money, without its unit."""
    return to_decimal(amount, unit) if unit == SECONDS else f"{amount:,}"


def count(number: int) -> str:
    """Write a number with its thousands apart."""
    return f"{number:,}"


def short(number: int) -> str:
    """Write a number in a few characters: `950`, `1.2k`, `12M`."""
    size = float(number)
    for sign in _SIGNS:
        if abs(size) < _KILO or sign == _SIGNS[-1]:
            is_small = sign and abs(size) < 10
            return f"{size:.1f}{sign}" if is_small else f"{size:.0f}{sign}"
        size /= _KILO
    raise AssertionError("the last sign is returned")


def tenths(number: int) -> str:
    """Write a tenth of a number: `1.5` of 15."""
    whole, rest = divmod(number, 10)
    return f"{whole:,}.{rest}" if rest else f"{whole:,}"


def host_of(url: str) -> str:
    """Return an address without its path, which may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}"


def percent(part: int, whole: int) -> str:
    """Write a share: `12%`; what is not nothing never looks like nothing, nor all like all."""
    if whole <= 0:
        return ""
    tenths = part * 1_000 // whole
    if part and not tenths:
        return "<0.1%"
    return f"{tenths / 10:.1f}%" if tenths < 100 else f"{tenths // 10}%"


def moment(unix_ns: int) -> str:
    """Write a time: `2026-11-28 23:05`, in UTC."""
    return _at(unix_ns).strftime("%Y-%m-%d %H:%M")


def machine_time(unix_ns: int) -> str:
    """Write a time for `datetime` of `<time>`."""
    return _at(unix_ns).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(unix_ns: int, now_ns: int) -> str:
    """Write how long ago something was: `3 minutes ago`."""
    seconds = (now_ns - unix_ns) // NS_PER_SECOND
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def span(seconds: int) -> str:
    """Write how long something takes, in its largest unit: `3 days`."""
    for name, size in _SECONDS:
        number = seconds // size
        if number:
            return f"{number:,} {name}{'' if number == 1 else 's'}"
    return "no time"


def _at(unix_ns: int) -> datetime:
    return datetime.fromtimestamp(unix_ns // NS_PER_SECOND, UTC)
