"""`tollspan reprice`: gives stored calls the cost that other prices make of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tollspan.launch import book_in_force, load_prices, settings_in_force
from tollspan.pricing import PriceBook, read_overrides
from tollspan.usage import ConfigError, format_usd, rfc3339

from ._author import author
from ._central import open_central
from ._checks import many
from ._serve import database
from ._terminal import Cell, Column, Value, print_json, print_line, print_table

if TYPE_CHECKING:
    from tollspan.ledger.central import CentralLedger, Repriced, RepricedRow

_BUILTIN: Final = "builtin"
_YAML: Final = frozenset({".yaml", ".yml"})
_PLACES: Final = 6


def reprice(parsed: argparse.Namespace) -> int:
    """Price calls anew, or say what that would change."""
    book = _book(parsed.book)
    with open_central(database(parsed)) as ledger:
        from tollspan.ledger.central import RepriceQuery  # noqa: PLC0415 - an extra

        query = RepriceQuery(
            since_unix_ns=parsed.since, until_unix_ns=parsed.until, model=parsed.model
        )
        found = {
            tenant: ledger.repricer.reprice(tenant, query, book, author(), is_dry=parsed.dry_run)
            for tenant in _tenants(ledger, parsed.tenant)
        }
    if parsed.json:
        print_json(_as_json(found, book, is_dry=parsed.dry_run))
    else:
        _print(found, book, parsed.since, is_dry=parsed.dry_run)
    return 0


def _book(said: str | None) -> PriceBook:
    """Return the prices that an option names."""
    if said is None:
        return load_prices(settings_in_force())
    if said == _BUILTIN:
        return PriceBook.load()
    path = Path(said).expanduser()
    if path.suffix in _YAML:
        return PriceBook.load(book_in_force(settings_in_force()), read_overrides(path))
    return PriceBook.load(path)


def _tenants(ledger: CentralLedger, said: str | None) -> list[str]:
    names = [one.name for one in ledger.tenants.all()]
    if said is None:
        return names
    if said not in names:
        raise ConfigError(f"there is no tenant {said[:80]!r} in {ledger.name}")
    return [said]


def _print(
    found: dict[str, Repriced], book: PriceBook, since_unix_ns: int, *, is_dry: bool
) -> None:
    rows = [(tenant, row) for tenant, one in found.items() for row in one.rows]
    if rows:
        lines = [_line(tenant, row) for tenant, row in rows]
        print_table(
            (
                Column("tenant", may_go=True),
                Column("day"),
                Column("model", is_wide=True),
                *(Column(title, is_number=True)
                  for title in ("calls", "before USD", "after USD", "difference")),
                Column("notes", if_any=True),
            ),
            [*lines, _total([row for _, row in rows])],
        )  # fmt: skip
        print_line()
    looked_at = sum(one.looked_at for one in found.values())
    calls = sum(one.calls for one in found.values())
    verb = "would cost" if is_dry else "now cost"
    print_line(f"of {many(looked_at, 'call')}, {calls:,} {verb} something else by {book.book_id}")
    kept_from = max((one.kept_from_unix_ns for one in found.values()), default=0)
    if since_unix_ns < kept_from:
        day = rfc3339(kept_from)[:10]
        print_line(f"calls before {day} keep what they cost: only sums of days are left of them")
    if is_dry:
        print_line("nothing was changed: this was a dry run")


def _line(tenant: str, row: RepricedRow) -> Sequence[Value]:
    notes = [
        f"{row.newly_priced:,} had no full price" if row.newly_priced else "",
        f"{row.no_price:,} left as they are: no price" if row.no_price else "",
    ]
    more = row.after_nanousd - row.before_nanousd
    return (
        tenant, row.day, row.model, f"{row.calls:,}", _usd(row.before_nanousd),
        _usd(row.after_nanousd), Cell(_usd(more), "warning" if more else "quiet"),
        ", ".join(note for note in notes if note),
    )  # fmt: skip


def _total(rows: Sequence[RepricedRow]) -> Sequence[Value]:
    before = sum(row.before_nanousd for row in rows)
    after = sum(row.after_nanousd for row in rows)
    calls = sum(row.calls for row in rows)
    texts = ("total", "", "", f"{calls:,}", _usd(before), _usd(after), _usd(after - before), "")
    return [Cell(text, "strong") for text in texts]


def _usd(nanousd: int) -> str:
    return format_usd(nanousd, places=_PLACES)


def _as_json(found: dict[str, Repriced], book: PriceBook, *, is_dry: bool) -> dict[str, object]:
    return {
        "book_id": book.book_id,
        "dry_run": is_dry,
        "looked_at": sum(one.looked_at for one in found.values()),
        "calls": sum(one.calls for one in found.values()),
        "difference_nanousd": str(sum(one.difference_nanousd for one in found.values())),
        "rows": [_row_json(tenant, row) for tenant, one in found.items() for row in one.rows],
    }


def _row_json(tenant: str, row: RepricedRow) -> dict[str, object]:
    return {
        "tenant": tenant,
        "day": row.day,
        "model": row.model,
        "calls": row.calls,
        "newly_priced": row.newly_priced,
        "no_price": row.no_price,
        "before_nanousd": str(row.before_nanousd),
        "cost_nanousd": str(row.after_nanousd),
        "difference_nanousd": str(row.after_nanousd - row.before_nanousd),
    }
