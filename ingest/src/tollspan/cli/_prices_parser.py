"""The options of `tollspan prices`."""

from __future__ import annotations

from pathlib import Path

from . import _arguments
from ._parser import Parser

# Option → bucket of `Usage`.
BUCKETS = {
    "input": "input_uncached",
    "cached": "cache_read",
    "cache-write": "cache_write",
    "cache-write-5m": "cache_write_5m",
    "cache-write-1h": "cache_write_1h",
    "output": "output",
    "reasoning": "reasoning",
}


def add_prices(parser: Parser) -> None:
    """Add `prices` and its actions."""
    prices = parser.add_command("prices", "show, check and update prices; price a call")
    _add_show(prices)
    _add_cost(prices)
    _add_check(prices)
    _add_update(prices)


def _add_show(prices: Parser) -> None:
    show = prices.add_command(
        "show",
        "show a model's prices: tiers, dates, sources",
        does="_prices:show",
        examples="  tollspan prices show gpt-4o-mini\n"
        "  tollspan prices show claude-haiku-4-5 --provider anthropic --at 2026-11-22\n",
    )
    show.add_argument("model", metavar="MODEL", help="its name, or provider/name")
    show.add_argument("--provider", help="as in gen_ai.provider.name (default: all that know it)")
    show.add_argument(
        "--at", type=_arguments.moment, metavar="DATE", help="only what holds then: 2026-11-22"
    )
    show.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_cost(prices: Parser) -> None:
    cost = prices.add_command(
        "cost",
        "work out what a call costs, part by part",
        does="_prices:cost",
        examples="  tollspan prices cost --model gpt-4o-mini --input 1000 --output 200\n"
        "  tollspan prices cost --model openai/gpt-4o --input 1000 --use web_searches=2\n",
    )
    cost.add_argument("--model", required=True, metavar="NAME", help="its name, or provider/name")
    cost.add_argument("--provider", help="as in gen_ai.provider.name (default: the model's maker)")
    for option, bucket in BUCKETS.items():
        cost.add_argument(
            f"--{option}",
            type=_arguments.count,
            default=0,
            metavar="N",
            dest=bucket,
            help=f"tokens of the bucket {bucket}",
        )
    cost.add_argument(
        "--use", type=_arguments.used, action="append", default=[], metavar="UNIT=N",
        help="further tokens or units: image_in=1000, web_searches=2 (may be repeated)",
    )  # fmt: skip
    cost.add_argument("--tier", help="service tier or speed: batch, flex, priority, fast")
    cost.add_argument("--region", help="where it runs: eu, us, us-west-2")
    cost.add_argument(
        "--at", type=_arguments.moment, metavar="DATE", help="when it started (default: now)"
    )
    cost.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_check(prices: Parser) -> None:
    check = prices.add_command(
        "check",
        "check a price book, or your own prices",
        does="_price_files:check_prices",
        examples="  tollspan prices check\n  tollspan prices check prices.yaml\n",
    )
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE",
        help="prices.yaml or a book (default: those in force)",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_update(prices: Parser) -> None:
    update = prices.add_command(
        "update",
        "put another price book into TOLLSPAN_HOME",
        does="_price_files:update_prices",
        examples="  tollspan prices update --from prices.json\n"
        "  tollspan prices update --from https://example.com/prices.json --sha256 HEX\n",
    )
    update.add_argument(
        "--from", required=True, dest="origin", metavar="FILE|URL", help="where the book is"
    )
    update.add_argument("--sha256", metavar="HEX", help="of the whole file; a URL needs it")
    update.add_argument("--force", action="store_true", help="take an older book, and pin it")
    update.add_argument("--json", action="store_true", help="one JSON object a line")
