"""Values of the command line: read or refused, with what is expected."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pytest

from tollspan.cli import _arguments as arguments
from tollspan.cli import _terminal as terminal
from tollspan.ledger import DIMENSIONS

HUGE = "9" * 5_000


def test_dimensions_are_those_of_the_ledger() -> None:
    assert set(arguments.DIMENSION_NAMES) == set(DIMENSIONS)
    assert set(arguments.FILTERS) < set(DIMENSIONS)


def test_times_are_utc_unless_they_say_otherwise() -> None:
    eight = arguments.moment("2026-11-22T08:00")
    assert eight == arguments.moment("2026-11-22T10:00+02:00") == 1_795_334_400 * 10**9
    assert arguments.moment("2026-11-22") == eight - 8 * 3_600 * 10**9


def test_ages_count_back_from_now() -> None:
    hour = arguments.moment_or_age("1h")
    assert 0 <= time.time_ns() - 3_600 * 10**9 - hour < 10**9
    assert arguments.moment_or_age("999999999w") == 0


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((arguments.moment, text) for text in ("", "soon", "0001-01-01", "9999-12-31", HUGE)),
        *((arguments.moment_or_age, text) for text in ("", "1y", "-1h", "1.5h", HUGE, f"{HUGE}w")),
        *((arguments.moment_or_age, text) for text in ("NaN", "\x00", "2262-01-01", "\u0661h")),
        *((arguments.count, text) for text in ("", "-1", "1.5", "NaN", "1e9", HUGE, "_1")),
        *((arguments.positive, text) for text in ("0", "-1", "inf", HUGE, "0x10")),
        *(
            (arguments.dimensions, text)
            for text in ("", ",", "colour", "tag.", "tag.a b", "day,day", "a\x00")
        ),
        *((arguments.tag, text) for text in ("", "tier", "=free")),
        *((arguments.used, text) for text in ("", "sugar=1", "images", "images=-1", "images=NaN")),
    ],
)
def test_what_is_no_value_is_refused_by_name(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        read(text)


def test_whole_numbers_may_have_parted_digits() -> None:
    assert arguments.count("1,000_000") == 1_000_000
    assert arguments.used("images:high/1024x1024=2") == ("images:high/1024x1024", 2)
    assert arguments.dimensions("customer, tag.tier") == ("customer", "tag.tier")
    assert arguments.tag("tier=a=b") == ("tag.tier", "a=b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Zoë 🐝", "Zoë 🐝"), ("\x1b[31m", r"\x1b[31m"), ("a\tb\n", r"a\tb\n"), ("\ud800", r"\ud800")],
)
def test_only_what_prints_is_printed(text: str, shown: str) -> None:
    assert terminal.plain(text) == shown
