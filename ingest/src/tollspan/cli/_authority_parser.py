"""The options of `tollspan authority`."""

from __future__ import annotations

from ._parser import Parser


def add_authority(parser: Parser) -> None:
    """Add `authority` and its actions."""
    authority = parser.add_command("authority", "open and look at the authority of many hosts")
    opening = authority.add_command(
        "open",
        "let a shared authority grant: at first, and after it lost what it knew",
        does="_authority:open_",
        examples="  tollspan authority open redis://localhost:6379/0\n",
    )
    opening.add_argument(
        "--anew", action="store_true", help="where it is open: end every lease, begin a new epoch"
    )
    filling = authority.add_command(
        "fill",
        "tell a shared authority all that this host's events charge; told twice, it counts once",
        does="_authority:fill",
        examples="  tollspan authority fill   # on each host, then once: tollspan authority open\n",
    )
    showing = authority.add_command(
        "status",
        "say whether a shared authority grants, and what is open with it",
        does="_authority:status",
        examples="  tollspan authority status --json\n",
    )
    showing.add_argument("--json", action="store_true", help="one JSON object")
    for command in (opening, filling, showing):
        command.add_argument(
            "url", nargs="?", metavar="URL", help="its address (default: TOLLSPAN_AUTHORITY)"
        )
