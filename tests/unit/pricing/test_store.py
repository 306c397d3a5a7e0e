"""A price book as a file that is looked over, compared by age, and put in place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tollspan.pricing
from tests.unit.pricing.conftest import book_bytes
from tollspan.pricing import inspect_book, newer_book, store_book
from tollspan.usage import PriceBookError

SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"
ROW = ["standard", None, None, 0, 1, {"output": 1}, 0]


def written(tmp_path: Path, *rows: object, date: str = "2026-11-22", **more: object) -> Path:
    path = tmp_path / "book.json"
    sources = [{"name": "s", "version": "1", "licence": "MIT", "url": "u", "sha256": "0"}]
    path.write_bytes(book_bytes({"m": [None, None, rows, more]}, date=date, sources=sources))
    return path


def test_the_shipped_book_is_in_order() -> None:
    info = inspect_book()
    document = json.loads(SHIPPED.read_bytes())
    assert (info.book_id, info.date) == (document["book_id"], document["body"]["date"])
    assert info.providers == len(document["body"]["providers"])
    assert info.models >= 2_800
    assert [source.name for source in info.sources] == ["genai-prices", "litellm"]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        pytest.param([[*ROW[:6], 3]], "source 3 is not among the book's 1", id="source"),
        pytest.param([[*ROW[:5], {"output": -1}, 0]], "a price is negative", id="negative"),
        pytest.param([[*ROW[:4], 0, {"output": 1}, 0]], "less than one token", id="per"),
        pytest.param([[*ROW[:5], {"thoughts": 1}, 0]], "'thoughts' is no kind of token", id="unit"),
        pytest.param([["standard", "soon", *ROW[2:]]], "'soon' is no day", id="day"),
        pytest.param(
            [["standard", "2026-02-01", "2026-01-01", *ROW[3:]]],
            "it ends before it begins",
            id="never",
        ),
        pytest.param([[*ROW, [0, 2_000]]], "no minutes of a day", id="minutes"),
        pytest.param([ROW, ROW], "another row holds for the same calls", id="overlap"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(
    tmp_path: Path, rows: list[object], complaint: str
) -> None:
    with pytest.raises(PriceBookError, match="openai/m:standard") as caught:
        inspect_book(written(tmp_path, *rows))
    assert complaint in str(caught.value)
    assert "compile it anew" in str(caught.value)


@pytest.mark.parametrize("there", ["elsewhere", [1, 0]])
def test_a_region_that_leads_nowhere_is_named(tmp_path: Path, there: object) -> None:
    with pytest.raises(PriceBookError, match="openai/m, region eu"):
        inspect_book(written(tmp_path, ROW, eu=there))


def test_the_newer_book_is_in_force(tmp_path: Path) -> None:
    assert newer_book(written(tmp_path, ROW, date="2099-01-01")) == tmp_path / "book.json"
    assert newer_book(written(tmp_path, ROW, date="2020-01-01")) is None
    assert newer_book(SHIPPED) == SHIPPED
    (tmp_path / "book.json").write_bytes(b"{}")
    with pytest.raises(PriceBookError, match="it says no date"):
        newer_book(tmp_path / "book.json")


def test_a_book_is_put_in_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "home" / "prices.json"
    info = store_book(SHIPPED.read_bytes(), path)
    assert path.read_bytes() == SHIPPED.read_bytes()
    assert info == inspect_book(path)
    assert [found.name for found in path.parent.iterdir()] == ["prices.json"]


def test_a_book_that_is_no_good_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(b"before")
    altered = SHIPPED.read_bytes().replace(b"gpt-4o-mini", b"gpt-4o-mimi", 1)
    for data in (b"", b"{}", altered):
        with pytest.raises(PriceBookError):
            store_book(data, path)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["prices.json"]
