"""Options that several commands have."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser


def add_span_of_time(command: Parser) -> None:
    """Add `--since` and `--until`."""
    for option, default, text in (
        ("--since", 0, "not older than this: 90m, 24h, 7d, or 2026-11-22T08:30:00Z"),
        ("--until", None, "only what started before this"),
    ):
        command.add_argument(
            option, type=_arguments.moment_or_age, default=default, metavar="WHEN", help=text
        )
