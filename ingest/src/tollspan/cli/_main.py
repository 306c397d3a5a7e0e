"""Reads the command line and hands over to a command, which is imported when it is run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from . import _arguments
from ._authority_parser import add_authority
from ._budget_parser import add_budget
from ._config_parser import add_config
from ._exports_parser import add_exports
from ._jobs_parser import add_jobs
from ._options import add_span_of_time
from ._outbox_parser import add_outbox
from ._parser import Parser, run
from ._prices_parser import add_prices
from ._reprice_parser import add_reprice
from ._rules_parser import add_audit, add_rules
from ._server_parser import add_server
from ._terminal import prepare_streams
from ._webhooks_parser import add_webhooks

_INTERRUPTED = 130
_WRONG_USE = 2
_RULES_AT = ("TOLLSPAN_CONFIG", "TOLLSPAN_ENDPOINT")
_BY_RULES = ("_adjust", "_authority", "_budgets", "_config:check", "_explain", "_simulate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code (0 good, 1 trouble found, 2 wrong use)."""
    prepare_streams()
    parser = make_parser()
    _complete(parser)
    parsed = parser.parse_args(arguments)
    from tollspan.usage import TollspanError  # noqa: PLC0415 - 80 ms that --help does not need

    try:
        if any(os.environ.get(name, "").lower().startswith("http") for name in _RULES_AT):
            _refresh_rules(parsed)
        code = run(parsed)
        sys.stdout.flush()
    except TollspanError as error:
        sys.stderr.write(f"tollspan: {error}\n")
        return 1
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:  # what is printed can't be written: a full disk
        _forget_stdout()
        sys.stderr.write(f"tollspan: {error.strerror or error}\n")
        return 1
    return code


def _refresh_rules(parsed: argparse.Namespace) -> None:
    """Have the rules of an address at hand for a command that goes by them.

    Raises:
        ConfigError: There are none.
    """
    names_others = any(getattr(parsed, name, None) for name in ("config", "file", "url"))
    if parsed.does.startswith(_BY_RULES) and not names_others:
        from tollspan.launch import read_settings, refresh_rules  # noqa: PLC0415 - as above

        refresh_rules(read_settings(on_wrong=lambda _: None))  # the command says what is wrong


def make_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="tollspan",
        description="Hard budgets and exact prices for every LLM call.",
        epilog="`tollspan COMMAND --help` says more. Settings are environment variables: see "
        "docs/reference/settings.md.",
    )
    parser.add_argument("--version", action="version", version=f"tollspan {version('tollspan')}")
    _add_run(parser)
    _add_events(parser)
    _add_report(parser)
    add_exports(parser)
    _add_budgets(parser)
    add_budget(parser)
    _add_doctor(parser)
    add_jobs(parser)
    add_config(parser)
    add_prices(parser)
    add_authority(parser)
    add_outbox(parser)
    add_server(parser)
    add_rules(parser)
    add_reprice(parser)
    add_webhooks(parser)
    add_audit(parser)
    ledger = parser.add_command("ledger", "look after the ledger's file")
    ledger.add_command(
        "rebuild",
        "make the ledger anew from its events",
        does="_ledger:rebuild_ledger",
        examples="  tollspan ledger rebuild",
    )
    return parser


def run_program(parsed: argparse.Namespace) -> int:
    """Start a program with tollspan in front: `tollspan run`."""
    from tollspan.launch import run_program as start  # noqa: PLC0415 - others need no SDK

    command: list[str] = parsed.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.stderr.write("tollspan run: which program? For example: tollspan run python app.py\n")
        return _WRONG_USE
    return start(command, is_strict=parsed.strict)


def _add_run(parser: Parser) -> None:
    command = parser.add_command(
        "run",
        "run a program with tollspan in front",
        does="_main:run_program",
        usage="tollspan run [--strict] PROGRAM …",
        examples="  tollspan run python app.py\n  tollspan run --strict gunicorn app:server\n",
    )
    command.add_argument(
        "--strict", action="store_true", help="refuse to start when calls could not be gated"
    )
    command.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM …",
        help="the program and its arguments",
    )


def _add_events(parser: Parser) -> None:
    command = parser.add_command(
        "events",
        "show calls and refusals, oldest first",
        does="_events:events",
        examples="  tollspan events --since 1h --customer acme\n"
        "  tollspan events --follow\n"
        "  tollspan events --json | jq -r 'select(.outcome == \"denied\") | .customer'\n",
    )
    command.add_argument(
        "-n", "--newest", type=_arguments.positive, metavar="N",
        help="only the N newest (default: 50 in a table, all with --json, none before --follow)",
    )  # fmt: skip
    command.add_argument(
        "-f", "--follow", action="store_true", help="wait for more, and show them as they come"
    )
    add_span_of_time(command)
    _add_filters(command)
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_report(parser: Parser) -> None:
    command = parser.add_command(
        "report",
        "sum calls and money by any dimensions, the dearest first",
        does="_report:report",
        examples="  tollspan report --by customer,model --since 7d\n"
        "  tollspan report --by day --customer acme --json\n",
    )
    command.add_argument(
        "--by",
        type=_arguments.dimensions,
        default=("model",),
        metavar="A,B",
        help="dimensions to sum by (default: model): "
        f"{', '.join((*_arguments.DIMENSION_NAMES, 'tag.NAME'))}",
    )
    add_span_of_time(command)
    _add_filters(command)
    command.add_argument("--json", action="store_true", help="a JSON array of objects")


def _add_budgets(parser: Parser) -> None:
    command = parser.add_command(
        "budgets",
        "show every budget: its limit, what is spent, held and left",
        does="_budgets:budgets",
        examples="  tollspan budgets\n  tollspan budgets --all --json\n",
    )
    command.add_argument(
        "--all", action="store_true", help="past periods and traces too (default: the current ones)"
    )
    command.add_argument(
        "--unresolved",
        action="store_true",
        help="list the calls whose processes died: what they held stays counted",
    )
    command.add_argument("--json", action="store_true", help="a JSON array of objects")


def _add_doctor(parser: Parser) -> None:
    command = parser.add_command(
        "doctor",
        "say what is gated, metered and kept, what is not, and the way out",
        does="_doctor:doctor",
        examples="  tollspan doctor\n"
        "  tollspan doctor --json | jq '.checks[] | select(.status != \"ok\")'\n",
    )
    command.add_argument("--json", action="store_true", help="one JSON object")


def _add_filters(command: Parser) -> None:
    for name in _arguments.FILTERS:
        text = f"only calls of this {name}"
        if name == "customer":
            text += "; `unattributed` for those of nobody (the same with the others)"
        command.add_argument(f"--{name}", metavar="NAME", help=text)
    command.add_argument(
        "--tag", type=_arguments.tag, action="append", default=[], metavar="NAME=VALUE",
        help="only calls with this tag (may be repeated)",
    )  # fmt: skip


def _complete(parser: Parser) -> None:
    """Answer a shell that asks for completions, where argcomplete is installed."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete  # noqa: PLC0415 - only the shell's own call needs it
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _forget_stdout() -> None:
    """Keep the interpreter from trying to write the rest at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # no real file: nothing will be written at the end
        pass
    finally:
        os.close(nowhere)
