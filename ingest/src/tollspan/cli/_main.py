"""Parses the command line and hands over to the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

from tollspan.ledger import DIMENSIONS, is_dimension
from tollspan.usage import TollspanError

from . import _doctor, _prices, _show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code (0 good, 1 trouble found, 2 wrong use)."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.action(parsed)
    except TollspanError as error:
        sys.stderr.write(f"tollspan: {error}\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code


class _Commands(Protocol):
    """What argparse gives to add commands to."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser: ...


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tollspan", description="Hard budgets and exact prices for every LLM call."
    )
    parser.add_argument("--version", action="version", version=f"tollspan {version('tollspan')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_events(commands)
    _add_report(commands)
    budgets = commands.add_parser("budgets", help="show every budget: spent, held, left")
    budgets.add_argument("--json", action="store_true", help="one JSON object a line")
    budgets.set_defaults(action=_show.budgets)
    doctor = commands.add_parser("doctor", help="say what is gated and kept, and what is not")
    doctor.set_defaults(action=_doctor.doctor)
    _prices.add_prices(commands)
    _add_ledger(commands)
    return parser


def _add_run(commands: _Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run a program with tollspan in front",
        usage="tollspan run [--strict] PROGRAM …",
    )
    run.add_argument(
        "--strict", action="store_true", help="refuse to start when calls could not be gated"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="PROGRAM …")
    run.set_defaults(action=_run)


def _add_events(commands: _Commands) -> None:
    events = commands.add_parser("events", help="show calls and refusals, oldest first")
    events.add_argument("-n", "--newest", type=_positive, metavar="N", help="only the N newest")
    events.add_argument("--since", type=_show.duration_ns, help="not older than this: 90m, 24h, 7d")
    events.add_argument("--json", action="store_true", help="one JSON object a line")
    events.set_defaults(action=_show.events)


def _add_report(commands: _Commands) -> None:
    report = commands.add_parser("report", help="sum calls and money by any dimensions")
    report.add_argument(
        "--by",
        type=_dimensions,
        default=("model",),
        metavar="A,B",
        help=f"dimensions to sum by (default: model): {', '.join(DIMENSIONS)}, tag.NAME",
    )
    report.add_argument("--since", type=_show.duration_ns, help="not older than this: 90m, 24h, 7d")
    report.add_argument("--json", action="store_true", help="one JSON object a line")
    report.set_defaults(action=_show.report)


def _add_ledger(commands: _Commands) -> None:
    ledger = commands.add_parser("ledger", help="look after the ledger's file")
    actions = ledger.add_subparsers(required=True, metavar="ACTION")
    rebuild = actions.add_parser("rebuild", help="make the ledger anew from its events")
    rebuild.set_defaults(action=_doctor.rebuild_ledger)


def _run(parsed: argparse.Namespace) -> int:
    from tollspan.launch import run_program  # noqa: PLC0415 - the other commands need no SDK

    command: list[str] = parsed.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.stderr.write("tollspan run: which program? For example: tollspan run python app.py\n")
        return 2
    return run_program(command, is_strict=parsed.strict)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _dimensions(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not is_dimension(name):
            raise argparse.ArgumentTypeError(
                f"unknown dimension {name!r}; known: {', '.join(DIMENSIONS)}, and tags by name, "
                "tag.tier say"
            )
    return names
