"""The options of commands that ask an ingest server over HTTP: `tollspan rules` and `audit`."""

from __future__ import annotations

from . import _arguments
from ._options import add_span_of_time
from ._parser import Parser


def add_rules(parser: Parser) -> None:
    """Add `rules` and its actions."""
    rules = parser.add_command(
        "rules", "show and change a tenant's rules on the ingest server TOLLSPAN_ENDPOINT"
    )
    getting = rules.add_command(
        "get",
        "print the rules in force, or those of a version, as they were put",
        does="_rules:get",
        examples="  tollspan rules get > tollspan.yaml\n  tollspan rules get 3\n",
    )
    getting.add_argument(
        "number", nargs="?", type=_arguments.positive, metavar="VERSION",
        help="one of the history (default: the one in force)",
    )  # fmt: skip
    getting.add_argument("--json", action="store_true", help="an object with version, etag, text")
    add_server_options(getting)
    putting = rules.add_command(
        "put",
        "check a document, say what it changes, and put it in force",
        does="_rules:put",
        examples="  tollspan rules put tollspan.yaml\n"
        "  tollspan rules put --over 3 tollspan.yaml\n"
        "  tollspan rules put --dry-run --json tollspan.yaml | jq .changes\n",
    )
    putting.add_argument("file", metavar="FILE", help="the document, as tollspan.yaml is")
    _add_changing(putting)
    listing = rules.add_command(
        "history",
        "list the versions of the rules, newest first",
        does="_rules:history",
        examples="  tollspan rules history -n 5\n",
    )
    listing.add_argument(
        "-n", "--newest", type=_arguments.positive, metavar="N",
        help="only the N newest (default: all)",
    )  # fmt: skip
    listing.add_argument("--json", action="store_true", help="a JSON array of objects")
    add_server_options(listing)
    rolling = rules.add_command(
        "roll-back",
        "put the rules of an older version in force again, as a new version",
        does="_rules:roll_back",
        examples="  tollspan rules roll-back 3\n",
    )
    rolling.add_argument(
        "number", type=_arguments.positive, metavar="VERSION", help="one of the history"
    )
    _add_changing(rolling)


def add_audit(parser: Parser) -> None:
    """Add `audit`."""
    command = parser.add_command(
        "audit",
        "show who changed rules, keys, budgets, prices, webhooks on an ingest server, oldest first",
        does="_audit:audit",
        examples="  tollspan audit --since 7d\n"
        "  tollspan audit --action key --json\n"
        "  tollspan audit --db postgresql://tollspan@db.internal/tollspan\n",
    )
    command.add_argument(
        "-n", "--newest", type=_arguments.positive, metavar="N",
        help="only the N newest (default: 50 in a table, all with --json)",
    )  # fmt: skip
    add_span_of_time(command)
    command.add_argument(
        "--action", metavar="NAME", help="only such: key.created, or key for all of keys"
    )
    command.add_argument("--json", action="store_true", help="a JSON array of objects")
    command.add_argument(
        "--db", metavar="WHERE",
        help="read the books themselves, without a key: sqlite:PATH or postgresql://…",
    )  # fmt: skip
    add_server_options(command)


def add_server_options(command: Parser) -> None:
    """Add which server is asked, with which key, and for whom; a key is never an argument."""
    command.add_argument(
        "--endpoint", metavar="URL", help="the ingest server (default: TOLLSPAN_ENDPOINT)"
    )
    command.add_argument(
        "--key-file", metavar="FILE",
        help="a file with the API key (default: what TOLLSPAN_API_KEY says)",
    )  # fmt: skip
    command.add_argument(
        "--tenant", metavar="NAME", help="whose they are, for a key that looks after all tenants"
    )


def _add_changing(command: Parser) -> None:
    command.add_argument(
        "--over", type=_arguments.count, metavar="VERSION",
        help="only in the place of this version, the one that you looked at; 0 for none",
    )  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="only say what would change")
    command.add_argument("--json", action="store_true", help="one JSON object")
    add_server_options(command)
