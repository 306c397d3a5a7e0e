"""`tollspan prices show` and `cost`: what calls cost, and by which prices."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, date, datetime
from fractions import Fraction

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
    Cost,
    Request,
    Response,
    TollspanError,
    Usage,
    format_usd,
)

from ._prices_parser import BUCKETS
from ._terminal import Column, print_json_line, print_table

_PICOUSD_PER_USD = 10**12
_MILLION = 10**6
_NS_PER_SECOND = 1_000_000_000
_SOME = 12
# Who makes models. Of a model that several sell, its maker's price is meant.
_MAKERS = frozenset(
    {
        "anthropic", "arcee", "cohere", "deepseek", "elevenlabs", "meta", "minimax", "mistral_ai",
        "moonshotai", "openai", "perplexity", "voyageai", "x_ai", "zai", "zhipuai",
    }
)  # fmt: skip
_GOOGLES = frozenset({"gcp.gemini", "gcp.vertex_ai"})


def show(parsed: argparse.Namespace) -> int:
    book = load_prices(read_settings())
    found = _lists(book, parsed.provider, parsed.model)
    if not found:
        print(f"no price for {parsed.model!r}{_at_provider(parsed.provider)} in {book.book_id}")
        return 1
    day = None if parsed.at is None else _day(parsed.at)
    for number, listed in enumerate(found):
        rows = [row for row in listed.rows if day is None or row.holds_on(day)]
        if parsed.json:
            print_json_line(_list_json(book, listed, rows))
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
        (
            *(Column(title) for title in ("tier", "from", "before")),
            *(Column(title, is_number=True) for title in ("above", "input", "output")),
            Column("others", is_wide=True),
            Column("source"),
        ),
        [_row_line(row) for row in rows],
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


def cost(parsed: argparse.Namespace) -> int:
    book = load_prices(read_settings())
    provider, model = one_provider(book, parsed.provider, parsed.model)
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
        print_json_line(_cost_json(cost, lines))
    else:
        _print_cost(provider, model, cost, lines)
    return 0 if cost.status == "priced" else 1


def _print_cost(provider: str, model: str, cost: Cost, lines: tuple[PriceLine, ...]) -> None:
    print_table(
        (
            Column("what"),
            Column("how many", is_number=True),
            Column("USD", is_number=True),
            Column("for"),
            Column("cost USD", is_number=True),
            Column("row"),
        ),
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


def one_provider(book: PriceBook, provider: str | None, model: str) -> tuple[str, str]:
    """Return whose model is meant, and its name there.

    Raises:
        TollspanError: Nobody has a price for it, or several have and none of them made it.
    """
    if provider is not None:
        return provider, model
    before, _, after = model.partition("/")
    if after and book.prices(before, after) is not None:
        return before, after
    names = [listed.provider for listed in _lists(book, None, model)]
    if not names:
        raise TollspanError(
            f"{model!r} has no price in book {book.book_id}; is --provider missing?"
        )
    makers = [name for name in names if name in _MAKERS]
    if not makers and set(names) <= _GOOGLES:
        makers = ["gcp.gemini"]
    best = names if len(names) == 1 else makers
    if len(best) != 1:
        raise TollspanError(f"{model!r} has prices at {', '.join(names)}: say which by --provider")
    return best[0], model


def _usage(parsed: argparse.Namespace) -> Usage:
    tokens: dict[str, int] = {bucket: getattr(parsed, bucket) for bucket in BUCKETS.values()}
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
