"""The options of `tollspan budget`."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser


def add_budget(parser: Parser) -> None:
    """Add `budget` and its actions."""
    budget = parser.add_command("budget", "adjust budgets, and try them on past calls")
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
    for add in (_add_raise, _add_set, _add_reset, _add_resolve, _add_history):
        add(budget)


def _add_raise(budget: Parser) -> None:
    command = budget.add_command(
        "raise",
        "let a budget have more in its period",
        does="_adjust:raise_",
        examples="  tollspan budget raise customer-month --for customer=acme --by '10 USD' "
        "--reason 'trial extended'\n",
    )
    _add_account(command)
    command.add_argument("--by", required=True, metavar="AMOUNT", help="how much: '10 USD'")


def _add_set(budget: Parser) -> None:
    command = budget.add_command(
        "set",
        "leave a budget just so much in its period",
        does="_adjust:set_",
        examples="  tollspan budget set org-month --left '500 USD' --reason agreed\n",
    )
    _add_account(command)
    command.add_argument("--left", required=True, metavar="AMOUNT", help="how much: '500 USD'")


def _add_reset(budget: Parser) -> None:
    command = budget.add_command(
        "reset",
        "count what a budget has spent in its period from nothing again",
        does="_adjust:reset",
        examples="  tollspan budget reset session --for session=s-17 --reason 'a bug of ours'\n",
    )
    _add_account(command)


def _add_account(command: Parser) -> None:
    command.add_argument("budget", metavar="BUDGET", help="its id")
    command.add_argument(
        "--for", dest="owner", type=_arguments.owner, action="append", default=[],
        metavar="DIMENSION=VALUE", help="whose account, for each dimension that divides the budget",
    )  # fmt: skip
    command.add_argument(
        "--period", metavar="KEY", help="another period than the current one, as `budgets` names it"
    )
    _add_reason(command)


def _add_reason(command: Parser) -> None:
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="why; it stays on the record"
    )


def _add_resolve(budget: Parser) -> None:
    command = budget.add_command(
        "resolve",
        "settle by hand what a dead process, or an ended lease, leaves open",
        does="_adjust:resolve",
        examples="  tollspan budgets --unresolved\n"
        "  tollspan budget resolve 01a2...87 --nothing --reason 'the request was never sent'\n",
    )
    command.add_argument("id", metavar="ID", help="the call, or the lease")
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument("--all", action="store_true", help="all of it was spent")
    how.add_argument("--nothing", action="store_true", help="nothing of it was spent")
    how.add_argument("--spent", metavar="AMOUNT", help="so much was spent: '0.10 USD'")
    _add_reason(command)


def _add_history(budget: Parser) -> None:
    command = budget.add_command(
        "history",
        "show what was raised, set, reset and resolved, by whom and why",
        does="_adjust:history",
        examples="  tollspan budget history customer-month --json\n",
    )
    command.add_argument("budget", nargs="?", metavar="BUDGET", help="only this one")
    command.add_argument("--json", action="store_true", help="a JSON array of objects")
