"""The options of `tollspan webhooks`."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser
from ._rules_parser import add_server_options

# Those of the ledger, of which the tests see that they are the same.
EVENTS = ("denied", "threshold", "rules_changed")
STATES = ("waiting", "delivered", "dead")
_DAY_SECONDS = 86_400


def add_webhooks(parser: Parser) -> None:
    """Add `webhooks` and its actions."""
    webhooks = parser.add_command(
        "webhooks", "say whom the ingest server TOLLSPAN_ENDPOINT tells of what; see what it told"
    )
    _add_add(webhooks)
    listing = webhooks.add_command(
        "list",
        "list who is told of what",
        does="_webhooks:list_",
        examples="  tollspan webhooks list\n",
    )
    _add_json(listing, "a JSON array of objects")
    _add_deliveries(webhooks)
    _add_replay(webhooks)
    rotating = webhooks.add_command(
        "rotate",
        "make a new secret, and show it this once; the one before signs too for a while",
        does="_webhooks:rotate",
        examples="  tollspan webhooks rotate wh_0123456789abcdef --keep 1h\n",
    )
    _add_webhook(rotating)
    rotating.add_argument(
        "--keep", type=_arguments.seconds, default=_DAY_SECONDS, metavar="FOR",
        help="how long the secret before signs too: 1h, 7d, or 0s (default: 24h)",
    )  # fmt: skip
    _add_json(rotating, "one JSON object")
    removing = webhooks.add_command(
        "remove",
        "remove a target, with all that it was told or was to be told",
        does="_webhooks:remove",
        examples="  tollspan webhooks remove wh_0123456789abcdef\n",
    )
    _add_webhook(removing)
    add_server_options(removing)


def _add_add(webhooks: Parser) -> None:
    adding = webhooks.add_command(
        "add",
        "have an address told of things, and show the secret that signs this once",
        does="_webhooks:add",
        examples="  tollspan webhooks add https://hooks.example.com/tollspan\n"
        "  tollspan webhooks add https://hooks.example.com/x --events threshold --json | jq .id\n",
    )
    adding.add_argument("url", metavar="URL", help="where to send, https://…")
    adding.add_argument(
        "--events", type=_arguments.words, default=EVENTS, metavar="A,B",
        help=f"of what it is told: {', '.join(EVENTS)} (default: all)",
    )  # fmt: skip
    adding.add_argument("--label", default="", metavar="TEXT", help="what it is for")
    _add_json(adding, "one JSON object")


def _add_deliveries(webhooks: Parser) -> None:
    looking = webhooks.add_command(
        "deliveries",
        "show what a target was told or is to be told, newest first",
        does="_webhooks:deliveries",
        examples="  tollspan webhooks deliveries wh_0123456789abcdef --state dead\n",
    )
    _add_webhook(looking)
    looking.add_argument("--state", choices=STATES, metavar="STATE", help=", ".join(STATES))
    looking.add_argument(
        "-n", "--newest", type=_arguments.positive, default=50, metavar="N",
        help="only the N newest (default: 50)",
    )  # fmt: skip
    _add_json(looking, "a JSON array of objects")


def _add_replay(webhooks: Parser) -> None:
    replaying = webhooks.add_command(
        "replay",
        "have deliveries sent again, under their ids",
        does="_webhooks:replay",
        examples="  tollspan webhooks replay wh_0123456789abcdef --dead\n",
    )
    _add_webhook(replaying)
    replaying.add_argument("deliveries", nargs="*", metavar="DELIVERY", help="whd_…")
    replaying.add_argument("--dead", action="store_true", help="all that were given up")
    _add_json(replaying, "one JSON object")


def _add_webhook(command: Parser) -> None:
    command.add_argument("webhook", metavar="WEBHOOK", help="its id, wh_…")


def _add_json(command: Parser, text: str) -> None:
    command.add_argument("--json", action="store_true", help=text)
    add_server_options(command)
