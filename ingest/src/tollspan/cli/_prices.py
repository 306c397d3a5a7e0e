"""`tollspan prices show` and `cost`: what calls cost, and by which prices."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tollspan.launch import load_prices, read_settings
from tollspan.pricing import (
    PriceBook,
    PriceLine,
    PriceList,
    PriceRow,
)
from tollspan.usage import (
    TOKEN_BUCKETS,
    UNITS,
    Cost,
    Request,
    Response,
    TollspanError,
    Usage,
    format_usd,
)

from ._price_files import check_prices, update_prices
from ._table import print_table

_PICOUSD_PER_USD = 10**12
_MILLION = 10**6
_NS_PER_SECOND = 1_000_000_000
_SOME = 12


class Commands(Protocol):
    """What argparse gives to add commands to."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser: ...


def add_prices(commands: Commands) -> None:
    """Add `prices` and its actions to the command line."""
    prices = commands.add_parser("prices", help="show, check and update prices; price a call")
    actions = prices.add_subparsers(required=True, metavar="ACTION")
    show = _action(actions, "show", _show, "show a model's prices: tiers, dates, sources")
    show.add_argument("model", metavar="MODEL", help="its name, or provider/name")
    show.add_argument("--provider", help="as in gen_ai.provider.name (default: all that know it)")
    show.add_argument("--at", type=_moment, metavar="DATE", help="only what holds then: 2026-11-22")
    cost = _action(actions, "cost", _cost, "work out what a call costs, part by part")
    cost.add_argument("--model", required=True, metavar="NAME", help="its name, or provider/name")
    cost.add_argument("--provider", help="as in gen_ai.provider.name")
    for option, bucket in _OPTIONS.items():
        cost.add_argument(f"--{option}", type=_count, default=0, metavar="N", dest=bucket)
    cost.add_argument(
        "--use", type=_used, action="append", default=[], metavar="UNIT=N",
        help="further tokens or units: image_in=1000, web_searches=2 (may be repeated)",
    )  # fmt: skip
    cost.add_argument("--tier", help="service tier or speed: batch, flex, priority, fast")
    cost.add_argument("--region", help="where it runs: eu, us, us-west-2")
    cost.add_argument("--at", type=_moment, metavar="DATE", help="when it started (default: now)")
    check = _action(actions, "check", check_prices, "check a price book, or your own prices")
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE",
        help="prices.yaml or a book (default: those in force)",
    )  # fmt: skip
    update = _action(actions, "update", update_prices, "put another price book into TOLLSPAN_HOME")
    update.add_argument("--from", required=True, dest="origin", metavar="FILE|URL")
    update.add_argument("--sha256", metavar="HEX", help="of the whole file; a URL needs it")
    update.add_argument("--force", action="store_true", help="take an older book, and pin it")


# Option → bucket of `Usage`.
_OPTIONS = {
    "input": "input_uncached",
    "cached": "cache_read",
    "cache-write": "cache_write",
    "cache-write-5m": "cache_write_5m",
    "cache-write-1h": "cache_write_1h",
    "output": "output",
    "reasoning": "reasoning",
}


def _action(
    actions: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(action=run)
    return parser


def _show(parsed: argparse.Namespace) -> int:
    book = load_prices(read_settings())
    found = _lists(book, parsed.provider, parsed.model)
    if not found:
        print(f"no price for {parsed.model!r}{_at_provider(parsed.provider)} in {book.book_id}")
        return 1
    day = None if parsed.at is None else _day(parsed.at)
    for number, listed in enumerate(found):
        rows = [row for row in listed.rows if day is None or row.holds_on(day)]
        if parsed.json:
            print(msgspec.json.encode(_list_json(book, listed, rows)).decode())
            continue
        if number:
            print()
        _print_list(listed, rows)
    if not parsed.json:
        print(f"\nbook {book.book_id}; USD for a million tokens, or for one of what is no token")
    return 0


def _print_list(listed: PriceList, rows: list[PriceRow]) -> None:
    limits = [
        f"{name} {value:,}"
        for name, value in (
            ("context", listed.context_window),
            ("most output", listed.max_output_tokens),
        )
        if value is not None
    ]
    about = ", ".join([listed.rule, *limits])
    print(f"{listed.provider}/{listed.key} ({about})")
    print_table(
        ("tier", "from", "before", "above", "input", "output", "others", "source"),
        [_row_line(row) for row in rows],
        right=(3, 4, 5),
    )
    if listed.regions:
        print("regions: " + ", ".join(_region(*item) for item in sorted(listed.regions.items())))
    if listed.fees:
        fees = (f"{unit} {_usd(price, 1)}" for unit, price in sorted(listed.fees.items()))
        print("fees: " + ", ".join(fees))


def _row_line(row: PriceRow) -> tuple[str, ...]:
    shown = {unit: _usd(*price, unit=unit) for unit, price in row.prices.items()}
    others = [f"{u} {p}" for u, p in sorted(shown.items()) if u not in {"input_uncached", "output"}]
    if len(others) > _SOME:
        others[_SOME:] = [f"and {len(others) - _SOME} more (--json)"]
    where = f"{row.tier} in {row.region}" if row.region else row.tier
    if row.minutes is not None:
        where += " {:02}:{:02}-{:02}:{:02}".format(
            *(part for minute in row.minutes for part in divmod(minute, 60))
        )
    return (
        where,
        row.valid_from or "",
        row.valid_to or "",
        str(row.above_input_tokens or ""),
        shown.get("input_uncached", ""),
        shown.get("output", ""),
        ", ".join(others),
        row.source,
    )


def _region(region: str, there: tuple[int, int] | str) -> str:
    name = "elsewhere" if region == "*" else region
    return f"{name} {there}" if isinstance(there, str) else f"{name} x{_decimal(Fraction(*there))}"


def _list_json(book: PriceBook, listed: PriceList, rows: list[PriceRow]) -> dict[str, object]:
    found: dict[str, object] = {"book_id": book.book_id}
    found.update(msgspec.to_builtins(msgspec.structs.replace(listed, rows=())))
    found["fees"] = {unit: _usd(price, 1) for unit, price in listed.fees.items()}
    found["rows"] = [
        {
            **msgspec.to_builtins(row),
            "prices": {
                unit: {"picousd": str(picousd), "per": per, "usd": _usd(picousd, per, unit=unit)}
                for unit, (picousd, per) in row.prices.items()
            },
        }
        for row in rows
    ]
    return found


def _cost(parsed: argparse.Namespace) -> int:
    book = load_prices(read_settings())
    provider, model = _one_provider(book, parsed.provider, parsed.model)
    request = Request(
        provider=provider,
        operation="chat",
        model=model,
        service_tier=parsed.tier,
        region=parsed.region,
    )
    at_unix_ns = time.time_ns() if parsed.at is None else parsed.at
    cost, lines = book.explain(request, Response(), _usage(parsed), at_unix_ns)
    if parsed.json:
        print(msgspec.json.encode(_cost_json(cost, lines)).decode())
    else:
        _print_cost(provider, model, cost, lines)
    return 0 if cost.status == "priced" else 1


def _print_cost(provider: str, model: str, cost: Cost, lines: tuple[PriceLine, ...]) -> None:
    print_table(
        ("what", "how many", "USD", "for", "cost USD", "row"),
        [
            (
                line.unit,
                f"{line.count:,}",
                _price(line),
                "1M tokens" if line.unit in _TOKENS else "1",
                "?" if line.picousd is None else _decimal(_amount(line)),
                line.row_id or "",
            )
            for line in lines
        ],
        right=(1, 2, 4),
    )
    matched = f"{cost.matched_key} ({cost.matched_by})" if cost.matched_key else "no price"
    print(f"\n{provider}/{model}: {matched}, book {cost.book_id}")
    if cost.amount_nanousd is None:
        print(f"{cost.status}: there is no amount")
    else:
        rest = f", without {', '.join(cost.unpriced_units)}" if cost.unpriced_units else ""
        print(f"{cost.status}: {format_usd(cost.amount_nanousd, places=2)} USD{rest}")


def _price(line: PriceLine) -> str:
    return "none" if line.picousd is None else _usd(line.picousd, line.per, unit=line.unit)


def _cost_json(cost: Cost, lines: tuple[PriceLine, ...]) -> dict[str, object]:
    return {
        "status": cost.status,
        "cost_nanousd": None if cost.amount_nanousd is None else str(cost.amount_nanousd),
        "book_id": cost.book_id,
        "matched_key": cost.matched_key,
        "matched_by": cost.matched_by,
        "row_ids": cost.row_ids,
        "unpriced_units": cost.unpriced_units,
        "parts": [
            {
                "unit": line.unit,
                "count": line.count,
                "picousd": None if line.picousd is None else str(line.picousd),
                "per": line.per,
                "cost_usd": None if line.picousd is None else _decimal(_amount(line)),
                "row_id": line.row_id,
            }
            for line in lines
        ],
    }


def _lists(book: PriceBook, provider: str | None, model: str) -> list[PriceList]:
    """Return what a name leads to at a provider, or at every one that knows it."""
    pairs = [(provider, model)] if provider else [(name, model) for name in book.providers]
    before, _, after = model.partition("/")
    if provider is None and after and book.prices(before, after) is not None:
        pairs = [(before, after)]
    found: dict[tuple[str, str], PriceList] = {}
    for name, wanted in pairs:
        listed = book.prices(name, wanted)
        if listed is not None:
            found.setdefault((listed.provider, listed.key), listed)
    return list(found.values())


def _one_provider(book: PriceBook, provider: str | None, model: str) -> tuple[str, str]:
    if provider is not None:
        return provider, model
    before, _, after = model.partition("/")
    if after and book.prices(before, after) is not None:
        return before, after
    found = _lists(book, None, model)
    names = [listed.provider for listed in found]
    if len(names) == 1:
        return names[0], model
    if not names:
        raise TollspanError(
            f"{model!r} has no price in book {book.book_id}; is --provider missing?"
        )
    raise TollspanError(f"{model!r} has prices at {', '.join(names)}: add --provider")


def _usage(parsed: argparse.Namespace) -> Usage:
    tokens: dict[str, int] = {bucket: getattr(parsed, bucket) for bucket in _OPTIONS.values()}
    units: dict[str, int] = {}
    for name, count in parsed.use:
        into = tokens if name in TOKEN_BUCKETS else units
        into[name] = into.get(name, 0) + count
    return msgspec.convert({**tokens, "quantities": sorted(units.items())}, Usage)


def _usd(picousd: int, per: int, *, unit: str = "") -> str:
    factor = _MILLION if unit in _TOKENS else 1
    return _decimal(Fraction(picousd * factor, per * _PICOUSD_PER_USD))


def _amount(line: PriceLine) -> Fraction:
    return Fraction(line.count * (line.picousd or 0), line.per * _PICOUSD_PER_USD)


def _decimal(value: Fraction) -> str:
    """Write a number as a plain decimal; one that never ends is cut, and says so."""
    scaled = value * 10**18
    digits = f"{int(scaled):019d}"
    text = f"{digits[:-18]}.{digits[-18:]}".rstrip("0").rstrip(".")
    return text if scaled.denominator == 1 else f"{text[:14]}…"


# Kinds of tokens, and the two sides of a ceiling.
_TOKENS = frozenset({*TOKEN_BUCKETS, "input"})


def _at_provider(provider: str | None) -> str:
    return f" at {provider}" if provider else ""


def _day(unix_ns: int) -> date:
    return datetime.fromtimestamp(unix_ns // _NS_PER_SECOND, UTC).date()


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time such as 2026-11-22 or 2026-11-22T08:30:00"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS_PER_SECOND


def _count(text: str) -> int:
    if not re.fullmatch("[0-9][0-9_,]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text.replace(",", ""))


def _used(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in TOKEN_BUCKETS and name.partition(":")[0] not in UNITS:
        known = ", ".join((*TOKEN_BUCKETS, *UNITS))
        raise argparse.ArgumentTypeError(f"unknown unit {name!r}; known: {known}")
    return name, _count(count)
