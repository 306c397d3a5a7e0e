"""The options of `tollspan budget`."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser


def add_budget(parser: Parser) -> None:
    """Add `budget` and its actions."""
    budget = parser.add_command("budget", "try budgets on past calls")
    simulate = budget.add_command(
        "simulate",
        "replay past calls against rules: which would not have gone out",
        does="_simulate:simulate",
        examples="  tollspan budget simulate --config new.yaml --since 7d\n"
        "  tollspan budget simulate --config new.yaml --since 2026-11-01 --json\n",
    )
    simulate.add_argument(
        "--config", metavar="FILE", help="the rules to try (default: those in force)"
    )
    for option, default, text in (
        ("--since", 0, "not older than this: 90m, 24h, 7d, or 2026-11-22T08:30:00Z"),
        ("--until", None, "only what started before this"),
    ):
        simulate.add_argument(
            option, type=_arguments.moment_or_age, default=default, metavar="WHEN", help=text
        )
    simulate.add_argument("--json", action="store_true", help="one JSON object")
