"""The shipped price book, loaded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pytest

from tollspan.pricing import PriceBook


@pytest.fixture(scope="session")
def book() -> PriceBook:
    return PriceBook.load()


@pytest.fixture(scope="session")
def tiny_book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    """A book of the test's own: prices that no real model has."""
    models = {
        "pico": [
            None,
            100,
            [["standard", None, None, 0, 1, {"input_uncached": 1, "output": 1}, 0]],
        ],
        "per-million": [
            None,
            None,
            [["standard", None, None, 0, 10**6, {"input_uncached": 10**9 + 1, "output": 1}, 0]],
        ],
        "free": [
            1_000,
            100,
            [["standard", None, None, 0, 1, {"input_uncached": 0, "output": 0}, 0]],
        ],
        "writes": [
            1_000,
            100,
            [["standard", None, None, 0, 1, {"input_uncached": 1_000, "cache_write": 2_000}, 0]],
        ],
    }
    path = tmp_path_factory.mktemp("book") / "prices.json"
    path.write_bytes(book_bytes(models))
    return PriceBook.load(path)


def book_bytes(
    models: Mapping[str, object],
    *,
    date: str = "2026-11-22",
    sources: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """Return a book of one provider, `openai`, hashed as it must be."""
    provider = {
        "auto_tiers": [],
        "ceiling": {"input_picousd": 7, "output_picousd": 9},
        "constant_tokens": 0,
        "dated": [],
        "models": models,
        "names": {key: key for key in models},
    }
    body = json.dumps(
        {
            "currency": "USD",
            "date": date,
            "providers": {"openai": provider},
            "sources": list(sources),
        }
    )
    digest = hashlib.sha256(body.encode()).hexdigest()
    head = f'"book_id": "{date.replace("-", "")}-{digest[:12]}", "format": 1, "sha256": "{digest}"'
    return f'{{{head}, "body": {body}}}'.encode()
