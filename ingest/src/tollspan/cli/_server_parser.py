"""The options of `tollspan serve`, `tenants` and `keys`."""

from __future__ import annotations

from pathlib import Path

from . import _arguments
from ._bounds import add_bounds
from ._parser import Parser


def add_server(parser: Parser) -> None:
    """Add what runs an ingest server, and what looks after its tenants."""
    _add_serve(parser)
    _add_tenants(parser)
    _add_keys(parser)


def _add_serve(parser: Parser) -> None:
    command = parser.add_command(
        "serve",
        "run an ingest server, which takes the events of many hosts",
        does="_serve:serve",
        examples="  tollspan serve\n"
        "  tollspan serve --host 0.0.0.0 --db postgresql://tollspan@db.internal/tollspan\n",
    )
    command.add_argument("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    command.add_argument(
        "--port", type=_arguments.port, metavar="PORT", help="where to listen (default: 4790)"
    )
    _add_database(command)
    command.add_argument(
        "--authority", metavar="WHERE",
        help="who holds the tenants' money: memory:, sqlite:PATH, redis://… or postgresql://… "
        "(default: beside the database)",
    )  # fmt: skip
    command.add_argument(
        "--keep", type=_arguments.months, default=13, metavar="MONTHS",
        help="for how many whole months, besides the one that runs, every event is kept; sums of "
        "days stay; `all` keeps every event (default: 13)",
    )  # fmt: skip
    command.add_argument(
        "--keep-audit", type=_arguments.months, metavar="MONTHS",
        help="for how many whole months, besides the one that runs, entries of the audit log are "
        "kept (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--prices", type=Path, metavar="FILE",
        help="your own prices, by which traces and asked-for calls are priced "
        "(default: TOLLSPAN_PRICES)",
    )  # fmt: skip
    command.add_argument("--certificate", metavar="FILE", help="for TLS, in PEM")
    command.add_argument("--private-key", metavar="FILE", help="the certificate's, in PEM")
    command.add_argument(
        "--private-webhooks", action="store_true",
        help="let webhooks go to private networks, and without TLS",
    )  # fmt: skip
    add_bounds(command)


def _add_tenants(parser: Parser) -> None:
    tenants = parser.add_command("tenants", "make and list the tenants of an ingest server")
    creating = tenants.add_command(
        "create",
        "make a tenant",
        does="_tenants:create",
        examples="  tollspan tenants create acme\n",
    )
    creating.add_argument("name", metavar="NAME", help="1 to 64 of a to z, digits, `_`, `-`, `.`")
    _add_database(creating)
    listing = tenants.add_command(
        "list",
        "list all tenants",
        does="_tenants:list_",
        examples="  tollspan tenants list --json\n",
    )
    _add_database(listing)
    listing.add_argument("--json", action="store_true", help="a JSON array of objects")


def _add_keys(parser: Parser) -> None:
    keys = parser.add_command("keys", "make, list and revoke the API keys of an ingest server")
    creating = keys.add_command(
        "create",
        "make a key, and show it this once",
        does="_tenants:create_key",
        examples="  tollspan keys create --tenant acme --scopes ingest\n"
        "  tollspan keys create --tenant acme --scopes ingest,read,admin --json | jq -r .key\n"
        "  tollspan keys create --tenant '*' --scopes admin,read\n",
    )
    creating.add_argument(
        "--tenant", default="default", metavar="NAME",
        help="whose it is (default: `default`, which is made then); `*` looks after all",
    )  # fmt: skip
    creating.add_argument(
        "--scopes", type=_arguments.words, required=True, metavar="A,B",
        help="ingest: send events and ask for budgets; read: look; admin: change",
    )  # fmt: skip
    creating.add_argument("--label", default="", metavar="TEXT", help="what it is for")
    _add_database(creating)
    creating.add_argument("--json", action="store_true", help="one JSON object")
    listing = keys.add_command(
        "list",
        "list keys, which are never shown again",
        does="_tenants:keys",
        examples="  tollspan keys list --tenant acme\n",
    )
    listing.add_argument("--tenant", metavar="NAME", help="only those of this tenant")
    _add_database(listing)
    listing.add_argument("--json", action="store_true", help="a JSON array of objects")
    revoking = keys.add_command(
        "revoke",
        "end a key, within two seconds",
        does="_tenants:revoke",
        examples="  tollspan keys revoke 1f2e3d4c\n",
    )
    revoking.add_argument("key", metavar="ID", help="its 8 hex digits")
    _add_database(revoking)


def _add_database(command: Parser) -> None:
    command.add_argument(
        "--db", metavar="WHERE",
        help="where the books are: sqlite:PATH or postgresql://… "
        "(default: server.db in TOLLSPAN_HOME)",
    )  # fmt: skip
