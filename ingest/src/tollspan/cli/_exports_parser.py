"""The options of `tollspan focus`, `reconcile`, `meter` and `forward`: events for others."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import _arguments
from ._options import add_span_of_time
from ._parser import Parser

_GRAINS = ("day", "hour", "call")
_OWNERS = tuple(
    name
    for name in _arguments.DIMENSION_NAMES
    if name not in {"model", "provider", "operation", "outcome", "day", "hour"}
)
_FORMS = ("openai", "anthropic", "aws")
SHAPES = ("openmeter", "openmeter-tokens", "lago", "stripe")


def add_exports(parser: Parser) -> None:
    """Add the commands."""
    _add_focus(parser)
    _add_reconcile(parser)
    _add_meter(parser)
    _add_forward(parser)


def _add_focus(parser: Parser) -> None:
    command = parser.add_command(
        "focus",
        "write costs as FOCUS 1.2 rows, one for each class of tokens",
        does="_focus:focus",
        examples="  tollspan focus --since 2026-11-01 --until 2026-12-01 --output november.csv\n"
        "  tollspan focus --by call --format parquet --output calls.parquet\n",
    )
    command.add_argument(
        "--by", choices=_GRAINS, default="day", help="what a row is of (default: day)"
    )
    command.add_argument(
        "--format", choices=("csv", "parquet"), default="csv",
        help="of the file (default: csv); Parquet needs the extra `parquet`",
    )  # fmt: skip
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="where to (default: standard output)"
    )
    command.add_argument(
        "--account", default="local", metavar="ID", help="BillingAccountId (default: local)"
    )
    command.add_argument(
        "--account-name", metavar="NAME", help="BillingAccountName (default: the same)"
    )
    command.add_argument(
        "--issuer", metavar="NAME", help="InvoiceIssuerName (default: the provider of each call)"
    )
    command.add_argument(
        "--sub-account", choices=_OWNERS, default="project", metavar="DIMENSION",
        help="the dimension whose values are SubAccountId (default: project)",
    )  # fmt: skip
    add_span_of_time(command)
    _add_source(command)


def _add_reconcile(parser: Parser) -> None:
    command = parser.add_command(
        "reconcile",
        "compare what was counted with what a provider billed, by day and model",
        does="_reconcile:reconcile_with",
        examples="  tollspan reconcile --export openai costs.csv\n"
        "  tollspan reconcile --export aws cur.csv --alias TitanEmbeddingV2=titan-embed-v2\n",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="the provider's export, in CSV")
    command.add_argument(
        "--export", choices=_FORMS, required=True,
        help="whose: OpenAI's costs, Anthropic's costs, AWS's Cost and Usage Report (Bedrock)",
    )  # fmt: skip
    command.add_argument(
        "--provider", metavar="NAME",
        help="the calls to compare, as in gen_ai.provider.name (default: the export's)",
    )  # fmt: skip
    command.add_argument(
        "--alias", type=_alias, action="append", default=[], metavar="THEIRS=OURS",
        help="the bill's name of a model and ours, where words don't tell (may be repeated)",
    )  # fmt: skip
    _add_source(command)
    command.add_argument("--json", action="store_true", help="a JSON array of objects")


def _add_meter(parser: Parser) -> None:
    command = parser.add_command(
        "meter",
        "write calls as a billing system takes them: OpenMeter, Lago, Stripe",
        does="_meter:meter",
        examples="  tollspan meter --shape openmeter --since 1h\n"
        "  tollspan meter --shape lago --name ai_cost --since 2026-11-27 --until 2026-11-28\n"
        "  tollspan meter --shape stripe --name ai_tokens --unit tokens --since 1h\n",
    )
    command.add_argument("--shape", choices=SHAPES, required=True, help="whose events")
    command.add_argument(
        "--name", metavar="NAME",
        help="OpenMeter's type, Lago's code, Stripe's event_name "
        "(default: tollspan.usage, prompt, tollspan_usage)",
    )  # fmt: skip
    command.add_argument(
        "--unit", default="nanousd", metavar="UNIT",
        help="what Stripe's meter counts: nanousd, tokens, a bucket, a unit (default: nanousd)",
    )  # fmt: skip
    command.add_argument(
        "--customer", type=_alias, action="append", default=[], metavar="OURS=THEIRS",
        help="a customer's id there: Lago's subscription, Stripe's cus_… (may be repeated)",
    )  # fmt: skip
    add_span_of_time(command)
    _add_source(command)


def _add_forward(parser: Parser) -> None:
    command = parser.add_command(
        "forward",
        "send events as CloudEvents to any HTTP address, from where it stopped the last time",
        does="_forward:forward",
        examples="  tollspan forward --to https://broker.internal/events --cursor broker.json\n"
        "  tollspan forward --to https://broker.internal/events --cursor broker.json --follow\n",
    )
    command.add_argument("--to", required=True, metavar="URL", help="where to, by POST")
    command.add_argument(
        "--cursor", required=True, type=Path, metavar="FILE", help="keeps how far it came"
    )
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help="holds a bearer token (default: none)"
    )
    command.add_argument(
        "--at-once", type=_arguments.positive, default=100, metavar="N",
        help="events in a batch, up to 500 (default: 100); 1 sends each by itself",
    )  # fmt: skip
    command.add_argument(
        "-f", "--follow", action="store_true", help="go on as events come, and after failures"
    )


def _add_source(command: Parser) -> None:
    command.add_argument(
        "--db", metavar="WHERE",
        help="an ingest server's books instead of this host's ledger: sqlite:PATH or postgresql://…",
    )  # fmt: skip
    command.add_argument(
        "--tenant", default="default", metavar="NAME", help="whose, with --db (default: default)"
    )


def _alias(text: str) -> tuple[str, str]:
    """Read one name and another."""
    one, is_pair, other = text.partition("=")
    if not is_pair or not one or not other:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair such as one=other")
    return one, other
