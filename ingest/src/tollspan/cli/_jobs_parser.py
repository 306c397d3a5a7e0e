"""The options of `tollspan jobs`."""

from __future__ import annotations

from ._parser import Parser


def add_jobs(parser: Parser) -> None:
    """Add `jobs` and its actions."""
    jobs = parser.add_command("jobs", "see and settle what is held for calls that end elsewhere")
    listed = jobs.add_command(
        "list",
        "list this host's jobs whose end nobody has seen: their age, what they hold, and for whom",
        does="_jobs:list_",
        examples="  tollspan jobs list\n  tollspan jobs list --json\n",
    )
    listed.add_argument("--json", action="store_true", help="a JSON array of objects")
    settle = jobs.add_command(
        "settle",
        "settle a job by hand",
        does="_jobs:settle",
        examples="  tollspan jobs settle resp_123 --spent '0.10 USD' --reason 'as on the bill'\n",
    )
    how = settle.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--all", dest="part", action="store_const", const="all", help="all that is held was spent"
    )
    how.add_argument(
        "--spent",
        metavar="AMOUNT",
        help="so much was spent: '0.10 USD'; budgets that count something else are charged in full",
    )
    _add_job(settle)
    settle.set_defaults(part="all")
    release = jobs.add_command(
        "release",
        "release what is held for a job that cost nothing",
        does="_jobs:release",
        examples="  tollspan jobs release batch_123 --reason 'it was never run'\n",
    )
    _add_job(release)
    release.set_defaults(part="nothing", spent=None)


def _add_job(command: Parser) -> None:
    command.add_argument("job", metavar="JOB", help="its id")
    command.add_argument(
        "--provider", metavar="NAME", help="whose job it is, where several have one of that id"
    )
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="why; it stays on the record"
    )
