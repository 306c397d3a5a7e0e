"""Compiles the price book that ships with tollspan: `python exporter/pricebook [--check]`.

It reads the installed `genai-prices` and LiteLLM's wheel, which is only unzipped, never imported.
The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import zipfile
from fractions import Fraction
from pathlib import Path

import from_genai_prices
import from_litellm
import genai_prices.data
from fees import AUTO_TIERS, FALLBACKS, FEES, HOSTS, PROVIDER_ALIASES, REPORTED
from rows import PICOUSD_PER_USD, TOKENS_PER_LIST_PRICE, InexactError, Model, Row

from tollspan.usage import INPUT_BUCKETS, OUTPUT_BUCKETS, TOKEN_BUCKETS

# A newer source: change its version, its digest and the date, run, and read the difference.
BOOK_DATE = "2026-11-22"
GENAI_PRICES = ("0.2.3", "5f4d8e175a91cf23cac17da33a4daa60a6a6c49525109c97e93db220d5197206")
LITELLM = ("1.109.1", "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6")
LITELLM_TABLE = "litellm/model_prices_and_context_window_backup.json"
# Measured: no more than that many tokens are added by a provider to what the caller's bytes hold,
# in 2,419 of 2,420 recorded requests (the other one ran several hidden prompts).
CONSTANT_TOKENS = 1_024
HERE = Path(__file__).resolve().parent
BOOK = HERE.parent / "src" / "tollspan" / "pricing" / "prices.json"
LEFT_OUT = HERE / "left_out.json"


def main(argv: list[str]) -> int:
    """Write the book, or compare it with what would be written; return the exit code."""
    parser = argparse.ArgumentParser(prog="python exporter/pricebook", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument("--litellm-wheel", type=Path, help="the wheel; else pip downloads it")
    options = parser.parse_args(argv)
    left_out: dict[str, str] = {}
    made = {BOOK: compile_book(litellm_table(options.litellm_wheel), left_out)}
    made[LEFT_OUT] = json.dumps(left_out, indent=1, sort_keys=True).encode() + b"\n"
    stale = [p for p, data in made.items() if not p.exists() or p.read_bytes() != data]
    for path in stale:
        if options.check:
            said = f"{path.name} is not what its sources give: run `python exporter/pricebook`"
        else:
            path.write_bytes(made[path])
            said = f"wrote {path.name}, {len(made[path]):,} bytes"
        sys.stdout.write(f"{said}\n")
    return 1 if stale and options.check else 0


def litellm_table(wheel: Path | None) -> bytes:
    """Return LiteLLM's table from its wheel, downloaded without its dependencies when not given."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            wanted = f"litellm=={LITELLM[0]}"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*command, "--only-binary=:all:", "-d", folder, wanted], check=True)
            wheel = next(Path(folder).glob("litellm-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            table = archive.read(LITELLM_TABLE)
    _require("LiteLLM's table", hashlib.sha256(table).hexdigest(), LITELLM[1])
    return table


def compile_book(table: bytes, left_out: dict[str, str]) -> bytes:
    """Return the book's bytes; `left_out` gets what could not be taken exactly, with reasons."""
    _require("genai-prices", importlib.metadata.version("genai-prices"), GENAI_PRICES[0])
    data = Path(genai_prices.data.__file__).read_bytes()
    _require("genai-prices' data", hashlib.sha256(data).hexdigest(), GENAI_PRICES[1])
    book = from_genai_prices.read(left_out)
    entries = from_litellm.read(table.decode())
    owners = {
        provider: {entry.name: from_genai_prices.owner_of(provider, entry.name) for entry in listed}
        for provider, listed in entries.items()
    }
    from_litellm.add(book, entries, date=BOOK_DATE, owner_of=owners, left_out=left_out)
    for provider, models in book.items():
        from_litellm.size_videos(models)
        for model in models:
            model.names |= {name.lower() for name in model.names}
            if not model.names:
                left_out[f"{provider}/{model.key}"] = "no exact name, only a pattern"
        models[:] = [m for m in models if m.names and _is_exact(provider, m, left_out)]
    return _write({provider: models for provider, models in book.items() if models})


def _is_exact(provider: str, model: Model, left_out: dict[str, str]) -> bool:
    """Say whether every price of a model is exact; else leave it out, and say why."""
    try:
        for row in model.rows:
            row.encode([from_genai_prices.SOURCE, from_litellm.SOURCE])
    except InexactError as why:
        left_out[f"{provider}/{model.key}"] = str(why)
        return False
    return True


def _require(what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: found {found}, the book is pinned to {wanted}")


def _write(book: dict[str, list[Model]]) -> bytes:
    sources = [
        _source("genai-prices", GENAI_PRICES, "https://github.com/pydantic/genai-prices"),
        _source("litellm", LITELLM, "https://github.com/BerriAI/litellm"),
    ]
    names = [str(source["name"]) for source in sources]
    providers = ",\n".join(
        f"{json.dumps(name)}: {_provider(name, models, names, _sold(book, name))}"
        for name, models in sorted(book.items())
    )
    body = (
        f'{{"aliases": {json.dumps(PROVIDER_ALIASES, sort_keys=True)}, '
        f'"currency": "USD", "date": {json.dumps(BOOK_DATE)}, '
        f'"providers": {{\n{providers}\n}}, "sources": {json.dumps(sources, sort_keys=True)}}}'
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    book_id = f"{BOOK_DATE.replace('-', '')}-{digest[:12]}"
    header = f'"book_id": "{book_id}", "format": 1, "sha256": "{digest}"'
    return f'{{{header}, "body": {body}}}\n'.encode()


def _source(name: str, pinned: tuple[str, str], url: str) -> dict[str, object]:
    version, digest = pinned
    return {"licence": "MIT", "name": name, "sha256": digest, "url": url, "version": version}


def _sold(book: dict[str, list[Model]], provider: str) -> list[tuple[str, Model]]:
    """Return every model that a provider sells, with whose list it is on."""
    sellers = [provider, *FALLBACKS.get(provider, [])]
    return [(seller, model) for seller in sellers for model in book.get(seller, [])]


def _provider(
    provider: str, models: list[Model], sources: list[str], sold: list[tuple[str, Model]]
) -> str:
    ordered = sorted(models, key=lambda model: model.key)
    names = {name: model.key for model in ordered for name in sorted(model.names)}
    dated = sorted(name for model in ordered for name in model.dated)
    lines = ",\n".join(
        f" {json.dumps(model.key)}: {json.dumps(_model(model, sources), separators=(',', ':'))}"
        for model in ordered
    )
    parts = {
        "auto_tiers": AUTO_TIERS.get(provider, []),
        "ceiling": _ceiling(sold),
        "constant_tokens": CONSTANT_TOKENS,
        "dated": dated,
        "fallbacks": FALLBACKS.get(provider, []),
        "fees": FEES.get(provider, {}),
        "hosts": HOSTS.get(provider, {}),
        "is_reported": provider in REPORTED,
        "names": names,
    }
    head = ",\n ".join(
        f"{json.dumps(name)}: {json.dumps(part, sort_keys=True)}"
        for name, part in parts.items()
        if part or name in {"auto_tiers", "ceiling", "dated", "names"}
    )
    return f'{{{head},\n "models": {{\n{lines}}}}}'


def _model(model: Model, sources: list[str]) -> list[object]:
    rows = sorted(model.rows, key=lambda r: (r.tier, r.valid_from or "", r.minutes or (), r.above))
    encoded = [row.encode(sources) for row in rows]
    found = [model.context_window, model.max_output_tokens, encoded]
    regions = {
        region: there if isinstance(there, str) else [there.numerator, there.denominator]
        for region, there in sorted(model.regions.items())
    }
    return [*found, regions] if regions else found


def _ceiling(sold: list[tuple[str, Model]]) -> dict[str, object]:
    models = [model for _, model in sold]
    ceiling: dict[str, object] = {
        "context_window": max((m.context_window or 0 for m in models), default=0) or None,
        "max_output_tokens": max((m.max_output_tokens or 0 for m in models), default=0) or None,
    }
    for side, buckets in (("input", INPUT_BUCKETS), ("output", OUTPUT_BUCKETS)):
        priced = [
            (Fraction(price) * _dearest_region(model), row_id(provider, model.key, row))
            for provider, model in sold
            for row in model.rows
            for unit, price in row.prices
            if unit in buckets
        ]
        if priced:
            price, dearest = max(priced)
            numerator = -(-price * PICOUSD_PER_USD // TOKENS_PER_LIST_PRICE)
            ceiling[f"{side}_picousd"] = int(numerator)
            ceiling[f"{side}_row"] = dearest
    units: dict[str, int] = {}
    for unit, price in (item for model in models for row in model.rows for item in row.prices):
        if unit not in TOKEN_BUCKETS:
            one = int(-(-Fraction(price) * PICOUSD_PER_USD // TOKENS_PER_LIST_PRICE))
            units[unit] = max(one, units.get(unit, 0))
    return ceiling | {"units": units} if units else ceiling


def _dearest_region(model: Model) -> Fraction:
    factors = [there for there in model.regions.values() if isinstance(there, Fraction)]
    return max([Fraction(1), *factors])


def row_id(provider: str, key: str, row: Row) -> str:
    """Return a row's id, the same that `tollspan.pricing` gives it when it reads the book."""
    above = f">{row.above}" if row.above else ""
    minute = f"T{row.minutes[0]}" if row.minutes else ""
    return f"{provider}/{key}:{row.tier}{above}@{row.valid_from or ''}{minute}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
