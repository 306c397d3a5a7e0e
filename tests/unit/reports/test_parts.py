"""The parts of a cost add up to it, to the nano-dollar, whatever settled it."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.reports.making import BOOK, an_event, with_amount
from tollspan.pricing import PriceBook, parse_overrides
from tollspan.reports import parts_of
from tollspan.reports.parts import divide
from tollspan.usage import Cost, Usage

counts = st.integers(0, 1_000_000)
usages = st.builds(
    Usage, input_uncached=counts, cache_read=counts, output=counts, reasoning=counts,
    quantities=st.sampled_from([(), (("web_searches", 3),)]),
)  # fmt: skip
models = st.sampled_from(["gpt-4o-mini", "gpt-5.5", "gpt-4o", "o3"])


@given(usages, models)
def test_parts_of_a_priced_call_add_up_to_its_amount(usage: Usage, model: str) -> None:
    event = an_event(usage, model=model)
    parts = parts_of(event, BOOK)
    known = [part.cost_nanousd for part in parts if part.cost_nanousd is not None]
    assert sum(known) == event.cost.amount_nanousd
    for part in parts:
        if part.price is not None and part.cost_nanousd is not None:
            exact = Fraction(part.count * part.price[0], part.price[1] * 1_000)
            assert abs(part.cost_nanousd - exact) < 1


@given(usages, st.integers(0, 10**15))
def test_an_amount_that_others_said_is_divided_without_a_rest(usage: Usage, amount: int) -> None:
    event = with_amount(an_event(usage), amount, settled_by="reported")
    parts = parts_of(event, BOOK)
    assert sum(part.cost_nanousd or 0 for part in parts) == amount


@given(st.lists(st.fractions(0, 10**9), min_size=1, max_size=15))
def test_shares_lose_less_than_one_each(weights: list[Fraction]) -> None:
    shares = divide(weights, round(sum(weights)))
    assert sum(shares) == round(sum(weights))
    assert all(abs(share - weight) < 1 for share, weight in zip(shares, weights, strict=True))


def test_every_class_of_tokens_is_a_part_of_its_own() -> None:
    event = an_event(Usage(input_uncached=1_000, cache_read=500, output=200))
    parts = {part.unit: (part.count, part.cost_nanousd) for part in parts_of(event, BOOK)}
    assert parts == {
        "input_uncached": (1_000, 150_000),
        "cache_read": (500, 37_500),
        "output": (200, 120_000),
    }


def test_what_has_no_price_has_no_cost_and_says_so() -> None:
    event = an_event(Usage(input_uncached=10), model="nobody-knows-it")
    (part,) = parts_of(event, BOOK)
    assert (part.basis, part.cost_nanousd, part.count) == ("unpriced", None, 10)


def test_a_call_of_unknown_usage_is_one_part_without_cost() -> None:
    event = an_event(Usage(status="unknown"))
    (part,) = parts_of(event, BOOK)
    assert (part.basis, part.cost_nanousd, part.unit) == ("unknown", None, "usage")


def test_a_call_that_was_not_billed_has_no_parts() -> None:
    assert parts_of(an_event(None), BOOK) == ()


def test_a_cost_without_any_priced_usage_stays_whole() -> None:
    event = an_event(Usage(), cost=Cost(status="priced", amount_nanousd=7, settled_by="reported"))
    (part,) = parts_of(event, BOOK)
    assert (part.unit, part.cost_nanousd, part.basis) == ("usage", 7, "apportioned")


def test_the_operators_price_is_paid_and_the_published_one_is_listed() -> None:
    own = parse_overrides(
        "version: 1\nmodels:\n  openai/gpt-4o-mini: {usd_per_million: {input: 0.10, output: 0.5}}\n"
    )
    book = PriceBook.load(None, own)
    event = an_event(Usage(input_uncached=1_000_000), book=book)
    (part,) = parts_of(event, book, BOOK)
    assert part.cost_nanousd == 100_000_000
    assert part.price is not None
    assert part.list_price is not None
    assert Fraction(*part.price) / Fraction(*part.list_price) == Fraction(10, 15)


@pytest.mark.parametrize("amount", [-3, -1_000_001])
def test_a_reversal_is_divided_as_exactly(amount: int) -> None:
    event = with_amount(an_event(Usage(input_uncached=7, output=11)), amount)
    assert sum(part.cost_nanousd or 0 for part in parts_of(event, BOOK)) == amount


def test_runs_of_other_models_are_parts_of_these_models() -> None:
    usage = msgspec.convert(
        {
            "input_uncached": 30, "output": 5,
            "iterations": [
                {"input_uncached": 10, "output": 5, "model": "gpt-4o"},
                {"input_uncached": 20},
            ],
        },
        Usage,
    )  # fmt: skip
    event = an_event(usage)
    parts = parts_of(event, BOOK)
    assert {part.model for part in parts} == {"gpt-4o", "gpt-4o-mini"}
    assert sum(part.cost_nanousd or 0 for part in parts) == event.cost.amount_nanousd
