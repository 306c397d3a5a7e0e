"""How the book is compiled: from `genai-prices` as installed, and from made-up LiteLLM tables."""

from __future__ import annotations

import importlib
import json
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

import tollspan.pricing

FOLDER = Path(__file__).parents[3] / "exporter" / "pricebook"
SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("rows")


@pytest.fixture
def genai(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("genai_prices")
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("from_genai_prices")


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("from_litellm")


def test_the_shipped_book_is_what_its_first_source_gives(genai: ModuleType) -> None:
    left_out: dict[str, str] = {}
    made = genai.read(left_out)
    shipped = json.loads(SHIPPED.read_bytes())["body"]["providers"]
    assert set(shipped) == set(made)
    for provider, models in made.items():
        for model in models:
            if model.names:
                found = shipped[provider]["models"][model.key][2]
                ours = [row.encode(["genai-prices"]) for row in model.rows]
                assert [row for row in found if row[6] == 0] == sorted(
                    ours, key=lambda row: (row[0], row[1] or "", row[3])
                )


def test_what_is_left_out_is_listed_with_a_reason(genai: ModuleType) -> None:
    left_out: dict[str, str] = {}
    genai.read(left_out)
    listed = json.loads((FOLDER / "left_out.json").read_bytes())
    assert left_out.items() <= listed.items()
    assert listed["deepseek/deepseek-v4-pro"] == "its price depends on the time of day"


@pytest.mark.parametrize(
    ("price", "per", "numerator"),
    [
        pytest.param("2.5", 1, 2_500_000, id="whole pico-USD a token"),
        pytest.param("0.0000015", 10, 15, id="finer than that"),
        pytest.param("0", 1, 0, id="free"),
    ],
)
def test_a_list_price_becomes_an_exact_ratio(
    rows: ModuleType, price: str, per: int, numerator: int
) -> None:
    row = rows.Row(
        tier="standard",
        valid_from=None,
        valid_to=None,
        above=0,
        prices=(("output", Decimal(price)),),
        source="a",
    )
    assert row.encode(["a"]) == ["standard", None, None, 0, per, {"output": numerator}, 0]


def test_a_rounding_error_of_the_source_is_not_a_price(rows: ModuleType) -> None:
    row = rows.Row(
        tier="standard",
        valid_from=None,
        valid_to=None,
        above=0,
        prices=(("output", Decimal("0.18000000000000002")),),
        source="a",
    )
    with pytest.raises(rows.InexactError):
        row.encode(["a"])


TABLE = """{
 "sample_spec": {"litellm_provider": "one of them", "mode": "chat"},
 "gpt-x": {"litellm_provider": "openai", "mode": "chat",
  "max_output_tokens": 9, "max_input_tokens": 99,
  "input_cost_per_token": 1e-06, "output_cost_per_token": 3e-06,
  "input_cost_per_token_above_272k_tokens": 2e-06,
  "input_cost_per_token_flex": 5e-07, "supports_vision": true},
 "gpt-y": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 4e-06,
  "output_cost_per_token": 8e-06, "input_cost_per_token_batches": 2e-06},
 "picture": {"litellm_provider": "openai", "mode": "image_generation",
  "input_cost_per_token": 1e-06}
}"""


def test_the_second_sources_floats_are_read_as_they_are_written(litellm: ModuleType) -> None:
    (x, y) = litellm.read(TABLE)["openai"]
    assert (x.name, x.context_window, x.max_output_tokens) == ("gpt-x", 99, 9)
    assert x.units("standard", 0) == {"input_uncached": 1, "output": 3}
    assert x.units("standard", 272_000) == {"input_uncached": 2, "output": 3}
    assert x.units("flex", 0) == {"input_uncached": Decimal("0.5"), "output": 3}
    assert y.tiers() == {"standard", "batch"}


def test_the_second_source_adds_limits_tiers_and_models(
    litellm: ModuleType, rows: ModuleType
) -> None:
    known = rows.Model(
        key="gpt-x",
        names={"gpt-x"},
        context_window=50,
        rows=litellm.read(TABLE)["openai"][0].rows("standard", valid_from=None),
    )
    book = {"openai": [known]}
    litellm.add(
        book,
        litellm.read(TABLE),
        date="2026-11-22",
        owner_of={"openai": {"gpt-x": "gpt-x", "gpt-y": None}},
        left_out={},
    )
    assert (known.context_window, known.max_output_tokens) == (99, 9)
    assert [row.valid_from for row in known.rows if row.tier == "flex"] == ["2026-11-22"] * 2
    added = book["openai"][1]
    assert (added.key, added.names) == ("gpt-y", {"gpt-y"})
    assert {row.tier for row in added.rows} == {"standard", "batch"}


def test_prices_that_the_sources_disagree_about_are_listed(
    litellm: ModuleType, rows: ModuleType
) -> None:
    """The name stays unpriced: neither source is taken."""
    price = (("input_uncached", Decimal(7)), ("output", Decimal(3)))
    row = rows.Row(
        tier="standard", valid_from=None, valid_to=None, above=0, prices=price, source="a"
    )
    known = rows.Model(key="other", names={"other"}, rows=[row])
    left_out: dict[str, str] = {}
    litellm.add(
        {"openai": [known]},
        litellm.read(TABLE),
        date="2026-11-22",
        owner_of={"openai": {"gpt-x": "other", "gpt-y": "other"}},
        left_out=left_out,
    )
    assert set(left_out) == {"openai/gpt-x", "openai/gpt-y"}
    assert known.names == {"other"}
