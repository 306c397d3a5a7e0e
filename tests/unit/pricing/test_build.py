"""How the book is compiled: from `genai-prices` as installed, and from made-up LiteLLM tables."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tollspan.pricing

FOLDER = Path(__file__).parents[3] / "exporter" / "pricebook"
First = tuple[dict[str, list[Any]], dict[str, str]]
SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"


@pytest.fixture(scope="module")
def build() -> Iterator[Callable[[str], ModuleType]]:
    """Imports modules of the build, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


@pytest.fixture(scope="module")
def rows(build: Callable[[str], ModuleType]) -> ModuleType:
    return build("rows")


@pytest.fixture(scope="module")
def litellm(build: Callable[[str], ModuleType]) -> ModuleType:
    return build("from_litellm")


@pytest.fixture(scope="module")
def first(build: Callable[[str], ModuleType]) -> First:
    """What the first source gives, and what of it is left out."""
    pytest.importorskip("genai_prices")
    left_out: dict[str, str] = {}
    return build("from_genai_prices").read(left_out), left_out


def test_the_shipped_book_is_what_its_first_source_gives(first: First) -> None:
    made, _ = first
    shipped = json.loads(SHIPPED.read_bytes())["body"]["providers"]
    assert set(shipped) - set(made) == {"fal_ai", "gcp.vertex_ai"}
    for provider, models in made.items():
        for model in models:
            if model.names:
                found = shipped[provider]["models"][model.key][2]
                ours = [row.encode(["genai-prices"]) for row in model.rows]
                taken = [row for row in found if row[6] == 0]
                if not taken:  # only the second source tells its audio from its text
                    assert model.key == "gpt-4o-mini-tts"
                    continue
                assert taken == sorted(
                    ours, key=lambda row: (row[0], row[1] or "", *row[7:8], row[3])
                )


def test_what_is_left_out_is_listed_with_a_reason(first: First) -> None:
    _, left_out = first
    listed = json.loads((FOLDER / "left_out.json").read_bytes())
    assert left_out.items() <= listed.items()
    assert listed["perplexity/sonar-deep-research"] == "charged by output_citation_mtok too"


def test_a_price_by_the_time_of_day_becomes_rows_that_cover_the_day(first: First) -> None:
    (model,) = [m for m in first[0]["deepseek"] if m.key == "deepseek-v4-pro"]
    today = [row for row in model.rows if row.valid_to is None]
    assert [row.minutes for row in today] == [(60, 240), (240, 360), (360, 600), (600, 60)]
    assert [dict(row.prices)["output"] for row in today] == [
        Decimal(price) for price in ("3.96", "1.98", "3.96", "1.98")
    ]


def test_a_free_variant_of_a_marketplace_has_a_price_of_nothing(first: First) -> None:
    free = [m for m in first[0]["openrouter"] if m.key.endswith(":free")]
    assert len(free) > 20
    assert {price for m in free for row in m.rows for _, price in row.prices} == {0}


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


def test_a_price_by_the_hour_is_exact_by_the_millisecond(rows: ModuleType) -> None:
    """4.80 USD an hour are 4/3 of a million pico-USD a millisecond."""
    row = rows.Row(
        tier="standard",
        valid_from=None,
        valid_to=None,
        above=0,
        prices=(("audio_ms", Fraction("4.8") * 10**6 / 3_600_000),),
        source="a",
    )
    assert row.encode(["a"])[4:6] == [3, {"audio_ms": 4_000_000}]


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
 "low/64-x-32/picture": {"litellm_provider": "openai", "mode": "image_generation",
  "input_cost_per_image": 0.25},
 "reel": {"litellm_provider": "openai", "mode": "video_generation",
  "output_cost_per_second": 0.4, "output_cost_per_second_4k": 0.6},
 "rules": {"litellm_provider": "openai", "mode": "guardrail", "input_cost_per_token": 1e-06}
}"""

REGIONS = """{
 "azure/gpt-x": {"litellm_provider": "azure", "mode": "chat",
  "input_cost_per_token": 2e-06, "output_cost_per_token": 4e-06},
 "azure/eu/gpt-x": {"litellm_provider": "azure", "mode": "chat",
  "input_cost_per_token": 2.2e-06, "output_cost_per_token": 4.4e-06},
 "azure/us/gpt-x": {"litellm_provider": "azure", "mode": "chat",
  "input_cost_per_token": 2.2e-06, "output_cost_per_token": 5e-06},
 "azure/speech/azure-stt": {"litellm_provider": "azure", "mode": "audio_transcription",
  "input_cost_per_second": 0.1},
 "bedrock/eu-west-1/1-month-commitment/m": {"litellm_provider": "bedrock", "mode": "chat",
  "input_cost_per_token": 1e-06}
}"""


def test_the_second_sources_floats_are_read_as_they_are_written(litellm: ModuleType) -> None:
    (x, y, *_) = litellm.read(TABLE)["openai"]
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
    added = {model.key: model for model in book["openai"][1:]}
    assert set(added) == {"gpt-y", "picture", "reel"}
    assert {row.tier for row in added["gpt-y"].rows} == {"standard", "batch"}
    assert added["picture"].units() == {"images:low/64x32"}
    assert added["reel"].units() == {"video_out_ms:720p", "video_out_ms:4k"}


def test_a_larger_size_that_is_named_like_a_model_is_a_size_of_the_model(
    litellm: ModuleType, rows: ModuleType
) -> None:
    def reel(key: str, price: int) -> Any:
        row = rows.Row(
            tier="standard",
            valid_from=None,
            valid_to=None,
            above=0,
            prices=(("video_out_ms", Decimal(price)),),
            source="litellm",
        )
        return rows.Model(key=key, rows=[row], names={key})

    high, plain, other = reel("reel-high-res", 500), reel("reel", 300), reel("film", 100)
    litellm.size_videos([high, plain, other])
    (row,) = plain.rows
    assert dict(row.prices) == {"video_out_ms:720p": 300, "video_out_ms:1024p": 500}
    assert high.units() == other.units() == {"video_out_ms"}


def test_a_regions_prices_become_a_factor_or_a_model_of_their_own(litellm: ModuleType) -> None:
    book: dict[str, list[object]] = {}
    left_out: dict[str, str] = {}
    entries = litellm.read(REGIONS)
    litellm.add(book, entries, date="2026-11-22", owner_of={}, left_out=left_out)
    base, us = book["azure.ai.openai"]
    assert (base.key, us.key) == ("gpt-x", "us/gpt-x")  # type: ignore[attr-defined]  # the build's
    assert base.regions == {  # type: ignore[attr-defined]  # the build's
        "*": 1,
        "eu": Fraction(11, 10),
        "us": "us/gpt-x",
    }


def test_a_tier_without_a_price_for_long_contexts_has_none_there(litellm: ModuleType) -> None:
    """Its short price would be a guess, and a cheap one."""
    entry = litellm.Entry(
        name="m",
        mode="chat",
        context_window=None,
        max_output_tokens=None,
        prices={
            ("standard", 0, "output"): Decimal(2),
            ("standard", 272_000, "output"): Decimal(4),
            ("standard", 0, "input_uncached"): Decimal(1),
            ("priority", 0, "output"): Decimal(8),
        },
    )
    assert entry.units("priority", 0) == {"output": 8, "input_uncached": 1}
    assert entry.units("priority", 272_000) == {"input_uncached": 1}


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
