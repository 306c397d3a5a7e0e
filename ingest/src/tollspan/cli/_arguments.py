"""Reads values of the command line. They import nothing of ours: the parser must be quick."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime

# Those of `tollspan.ledger`, of which the tests see that they are the same.
DIMENSION_NAMES = (
    "model", "provider", "operation", "customer", "session", "user", "agent", "feature", "step",
    "team", "project", "service", "environment", "outcome", "day", "hour",
)  # fmt: skip
FILTERS = ("customer", "session", "user", "agent", "provider", "model", "outcome")
_TAG = re.compile(r"tag\.[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NS = 1_000_000_000
_LATEST_YEAR = 2261  # in 2262 the nanoseconds since 1970 need more than 63 bits
_MOST = 10**15
_HIGHEST_PORT = 65_535
_MOST_MONTHS = 240


def moment(text: str) -> int:
    """Read a date or a time, in UTC where it names no zone: nanoseconds since the epoch."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= _LATEST_YEAR:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time such as 2026-11-22 or 2026-11-22T08:30:00Z"
        )
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return max(0, int(found.timestamp())) * _NS


def moment_or_age(text: str) -> int:
    """Read `90m`, `24h` or `7d` as that long ago, or a time: nanoseconds since the epoch."""
    match = _DURATION.fullmatch(text)
    if match is not None:
        return max(0, time.time_ns() - int(match[1]) * _SECONDS[match[2]] * _NS)
    try:
        return moment(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration such as 90m, 24h or 7d, and no time such as 2026-11-22"
        ) from error


def seconds(text: str) -> int:
    """Read `90s`, `30m`, `24h` or `7d`: seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 30m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def count(text: str) -> int:
    """Read a whole number, 0 or more; commas and underscores may part its digits."""
    number = _number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {_MOST:,}")
    return number


def positive(text: str) -> int:
    """Read a whole number, 1 or more."""
    number = _number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {_MOST:,}")
    return number


def dimensions(text: str) -> tuple[str, ...]:
    """Read names of dimensions with commas between."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("names no dimension; for example: customer,model")
    for name in names:
        if name not in DIMENSION_NAMES and not _TAG.fullmatch(name):
            known = ", ".join(DIMENSION_NAMES)
            raise argparse.ArgumentTypeError(
                f"unknown dimension {name!r}; known: {known}, and tags by name, tag.tier say"
            )
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"{name!r} is named twice")
    return names


def used(text: str) -> tuple[str, int]:
    """Read `UNIT=N`: a bucket of tokens or a unit, and how much of it."""
    name, _, number = text.partition("=")
    from tollspan.usage import TOKEN_BUCKETS, UNITS  # noqa: PLC0415 - only this option needs it

    if name not in TOKEN_BUCKETS and name.partition(":")[0] not in UNITS:
        known = ", ".join((*TOKEN_BUCKETS, *UNITS))
        raise argparse.ArgumentTypeError(f"unknown unit {name!r}; known: {known}")
    return name, count(number)


def tag(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE`: the dimension of the tag, and the value."""
    name, equals, value = text.partition("=")
    if not equals or not _TAG.fullmatch(f"tag.{name}"):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return f"tag.{name}", value


def _number(text: str) -> int | None:
    digits = text.replace(",", "").replace("_", "")
    if not re.fullmatch("[0-9]{1,20}", digits) or not text[:1].isdigit():
        return None
    number = int(digits)
    return number if number <= _MOST else None


def owner(text: str) -> tuple[str, str]:
    """Read `customer=acme`."""
    name, is_pair, value = text.partition("=")
    if not is_pair or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no DIMENSION=VALUE such as customer=acme")
    return name, value


def port(text: str) -> int:
    """Read a TCP port, 0 for any that is free."""
    number = _number(text)
    if number is None or number > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to {_HIGHEST_PORT:,}")
    return number


def months(text: str) -> int | None:
    """Read a number of months, 1 or more; None for `all`."""
    if text == "all":
        return None
    number = _number(text)
    if not number or number > _MOST_MONTHS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `all` nor 1 to {_MOST_MONTHS}")
    return number


def words(text: str) -> tuple[str, ...]:
    """Read words between commas, each once."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not found:
        raise argparse.ArgumentTypeError("expected words between commas")
    return found
