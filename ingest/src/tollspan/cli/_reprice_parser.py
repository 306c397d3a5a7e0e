"""The options of `tollspan reprice`."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser


def add_reprice(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "reprice",
        "price the calls of an ingest server anew, by other prices",
        does="_reprice:reprice",
        examples="  tollspan reprice --since 2026-11-01 --book prices.yaml --dry-run\n"
        "  tollspan reprice --since 2026-11-01 --until 2026-12-01 --book prices.yaml\n"
        "  tollspan reprice --since 7d --book builtin --model gpt-5.5 --tenant acme --json\n",
    )
    command.add_argument(
        "--since", type=_arguments.moment_or_age, required=True, metavar="WHEN",
        help="calls that began then or later: 24h, 7d, or 2026-11-22T08:30:00Z",
    )  # fmt: skip
    command.add_argument(
        "--until", type=_arguments.moment_or_age, metavar="WHEN",
        help="only what started before this",
    )  # fmt: skip
    command.add_argument(
        "--book", metavar="FILE",
        help="the prices: your own in YAML, over the book in force; another price book in JSON; or "
        "`builtin`, the book that ships, without your own (default: the prices in force here)",
    )  # fmt: skip
    command.add_argument("--model", metavar="NAME", help="only calls that asked for this model")
    command.add_argument("--tenant", metavar="NAME", help="only this tenant's (default: all)")
    command.add_argument(
        "--dry-run", action="store_true", help="say what would change, and change nothing"
    )
    command.add_argument(
        "--db", metavar="WHERE",
        help="where the books are: sqlite:PATH or postgresql://… "
        "(default: server.db in TOLLSPAN_HOME)",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="one JSON object")
