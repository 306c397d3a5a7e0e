"""The options of `tollspan outbox`."""

from __future__ import annotations

from ._parser import Parser


def add_outbox(parser: Parser) -> None:
    """Add `outbox` and its actions."""
    outbox = parser.add_command("outbox", "show, and send, what waits for TOLLSPAN_ENDPOINT")
    listing = outbox.add_command(
        "list",
        "show how much waits, and the events that the server refused for good",
        does="_outbox:list_",
        examples="  tollspan outbox list\n  tollspan outbox list --json | jq .dead_letters\n",
    )
    listing.add_argument("--json", action="store_true", help="one JSON object")
    outbox.add_command(
        "send",
        "send what waits now; exit code 1 when something is left",
        does="_outbox:send",
        examples="  tollspan outbox send\n",
    )
    replaying = outbox.add_command(
        "replay",
        "have events that the server refused sent again",
        does="_outbox:replay",
        examples="  tollspan outbox replay 01a221b5ce757733a1839ec3d0c05587\n"
        "  tollspan outbox replay --all\n",
    )
    replaying.add_argument("events", nargs="*", metavar="EVENT", help="ids of events")
    replaying.add_argument("--all", action="store_true", help="all that were refused")
