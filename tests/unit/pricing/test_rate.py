"""What a call cost: figures worked out by hand from OpenAI's price page (as of 2026-10-14)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


NOW = at("2026-11-22T12:00:00")


def ask(model: str, **rest: object) -> Request:
    return Request(provider="openai", operation="chat", model=model, **rest)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("model", "usage", "nanousd"),
    [
        # 1,000 x 0.15 + 100 x 0.60 USD per million
        pytest.param("gpt-4o-mini", Usage(input_uncached=1_000, output=100), 210_000, id="plain"),
        # 200 x 2.50 + 800 x 1.25 + 50 x 10
        pytest.param(
            "gpt-4o",
            Usage(input_uncached=200, cache_read=800, output=50),
            2_000_000,
            id="cached tokens are counted once, at their own price",
        ),
        # 10 x 15 + 90 x 15: the provider lists no cached price for it
        pytest.param(
            "o1-pro",
            Usage(input_uncached=10, cache_read=90),
            100 * 150_000,
            id="cached tokens without a price of their own are input",
        ),
        # 100 x 2 + 20 x 8 + 300 x 8
        pytest.param(
            "o3",
            Usage(input_uncached=100, output=20, reasoning=300),
            2_760_000,
            id="reasoning is billed as output",
        ),
        # 10 x 4 + 1,000 x 5 + 5 x 20
        pytest.param(
            "gpt-5.6-sol",
            Usage(input_uncached=10, cache_write=1_000, output=5),
            5_140_000,
            id="cache writes cost more than input",
        ),
        # 100 x 2.50: before GPT-5.6 nothing is charged for writing
        pytest.param(
            "gpt-4o", Usage(cache_write=100), 250_000, id="cache writes without a price are input"
        ),
        # 10 x 2.50 + 100 x 32 + 7 x 10 + 200 x 64
        pytest.param(
            "gpt-audio",
            Usage(input_uncached=10, audio_in=100, output=7, audio_out=200),
            16_095_000,
            id="audio has prices of its own",
        ),
        # 100 x 40 + 10 x 80, from the second source: the first one has no audio price here
        pytest.param(
            "gpt-4o-audio-preview-2024-12-17",
            Usage(audio_in=100, audio_out=10),
            4_800_000,
            id="audio prices of a dated preview",
        ),
        pytest.param("gpt-4o", Usage(image_in=100), 250_000, id="image input is text input"),
        pytest.param("gpt-4o", Usage(), 0, id="nothing used costs nothing"),
        pytest.param(
            "text-embedding-3-small", Usage(input_uncached=1_000), 20_000, id="embeddings"
        ),
    ],
)
def test_a_call_costs_what_the_price_page_says(
    book: PriceBook, model: str, usage: Usage, nanousd: int
) -> None:
    cost = book.rate(ask(model), Response(), usage, NOW)
    assert (cost.status, cost.amount_nanousd) == ("priced", nanousd)
    assert cost.book_id == book.book_id
    assert not cost.is_assumed


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("picousd", "nanousd"),
    [
        pytest.param(500, 0, id="0.5 goes to the even 0"),
        pytest.param(1_500, 2, id="1.5 goes to the even 2"),
        pytest.param(2_500, 2, id="2.5 goes to the even 2"),
        pytest.param(2_501, 3, id="just over half goes up"),
        pytest.param(2_499, 2, id="just under half goes down"),
    ],
)
def test_an_amount_is_rounded_half_to_even(
    tiny_book: PriceBook, picousd: int, nanousd: int, times: int
) -> None:
    """The test book's model costs one pico-USD a token; the second time comes from the memo."""
    for _ in range(times):
        cost = tiny_book.rate(ask("pico"), Response(), Usage(input_uncached=picousd), NOW)
    assert cost.amount_nanousd == nanousd


def test_a_price_for_many_tokens_is_exact(tiny_book: PriceBook) -> None:
    """The test book's `per-million` costs 1,000,000,001 pico-USD for a million tokens."""
    usage = Usage(input_uncached=500_000_000)
    cost = tiny_book.rate(ask("per-million"), Response(), usage, NOW)
    assert cost.amount_nanousd == 500_000_000
    more = tiny_book.rate(ask("per-million"), Response(), Usage(input_uncached=10**12), NOW)
    assert more.amount_nanousd == 1_000_000_001_000


@pytest.mark.parametrize(
    ("tokens", "picousd", "row"),
    [
        pytest.param(272_000, 5_000_000, "openai/gpt-5.5:standard@", id="at the threshold"),
        pytest.param(272_001, 10_000_000, "openai/gpt-5.5:standard>272000@", id="one token more"),
    ],
)
def test_past_a_threshold_all_tokens_cost_more(
    book: PriceBook, tokens: int, picousd: int, row: str
) -> None:
    for _ in range(2):
        cost = book.rate(ask("gpt-5.5"), Response(), Usage(input_uncached=tokens), NOW)
        assert cost.amount_nanousd == tokens * picousd // 1_000
        assert cost.row_ids == (row,)


def test_cached_tokens_count_towards_the_threshold(book: PriceBook) -> None:
    usage = Usage(input_uncached=1, cache_read=272_000)
    cost = book.rate(ask("gpt-5.5"), Response(), usage, NOW)
    assert cost.amount_nanousd == (10_000_000 + 272_000 * 1_000_000) // 1_000


def test_a_dear_call_below_the_threshold_is_priced_by_the_first_row(book: PriceBook) -> None:
    """Its total is past what the memo can judge by itself."""
    usage = Usage(input_uncached=272_000, reasoning=128_000)
    for _ in range(2):
        cost = book.rate(ask("gpt-6-astra"), Response(), usage, NOW)
        assert cost.row_ids == ("openai/gpt-6-astra:standard@",)
        assert cost.amount_nanousd == 272_000 * 10_000 + 128_000 * 50_000


def test_output_does_not_count_towards_the_threshold(book: PriceBook) -> None:
    usage = Usage(input_uncached=272_000, output=100_000)
    cost = book.rate(ask("gpt-5.5"), Response(), usage, NOW)
    assert cost.amount_nanousd == (272_000 * 5_000_000 + 100_000 * 30_000_000) // 1_000


@pytest.mark.parametrize(
    ("asked", "said", "picousd"),
    [
        pytest.param(None, None, 1_250_000, id="nothing said is standard"),
        pytest.param("auto", "default", 1_250_000, id="default is standard"),
        pytest.param("auto", "priority", 2_500_000, id="auto may run as priority"),
        pytest.param("flex", None, 625_000, id="asked for, the answer says nothing"),
        pytest.param("flex", "flex", 625_000, id="flex"),
        pytest.param("priority", "default", 1_250_000, id="what the answer says wins"),
        pytest.param(None, "batch", 625_000, id="batch"),
    ],
)
def test_the_service_tier_that_ran_is_priced(
    book: PriceBook, asked: str | None, said: str | None, picousd: int
) -> None:
    usage = Usage(input_uncached=1_000_000)
    cost = book.rate(ask("gpt-5", service_tier=asked), Response(service_tier=said), usage, NOW)
    assert cost.amount_nanousd == picousd * 1_000


def test_a_tier_without_a_row_is_unpriced(book: PriceBook) -> None:
    usage = Usage(input_uncached=10)
    cost = book.rate(ask("gpt-4o"), Response(service_tier="scale"), usage, NOW)
    assert (cost.status, cost.amount_nanousd, cost.matched_key) == ("unpriced", None, "gpt-4o")


@pytest.mark.parametrize(
    ("model", "day", "picousd"),
    [
        pytest.param("o3", "2025-06-09T23:59:59", 10_000_000, id="o3 before its price cut"),
        pytest.param("o3", "2025-06-10", 2_000_000, id="o3 from the first second of its cut"),
        pytest.param("gpt-5.6-sol", "2026-08-20", 5_000_000, id="sol before"),
        pytest.param("gpt-5.6-sol", "2026-08-21", 4_000_000, id="sol after"),
    ],
)
def test_a_call_is_priced_by_the_time_when_it_started(
    book: PriceBook, model: str, day: str, picousd: int
) -> None:
    for _ in range(2):
        cost = book.rate(ask(model), Response(), Usage(input_uncached=1_000), at(day))
        assert cost.amount_nanousd == picousd


def test_the_memo_does_not_carry_a_price_over_its_day(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000)
    days = ["2025-06-10", "2025-06-09", "2025-06-10", "2025-06-09"]
    amounts = [book.rate(ask("o3"), Response(), usage, at(day)).amount_nanousd for day in days]
    assert amounts == [2_000_000, 10_000_000, 2_000_000, 10_000_000]


def test_a_tier_is_unpriced_before_its_prices_are_known(book: PriceBook) -> None:
    """The source verified tier prices on 2026-10-12 and says nothing of earlier days."""
    request, usage = ask("gpt-5", service_tier="priority"), Usage(input_uncached=10)
    assert book.rate(request, Response(), usage, at("2026-10-11")).status == "unpriced"
    assert book.rate(request, Response(), usage, at("2026-10-12")).status == "priced"


def test_tokens_without_a_price_make_a_cost_partial(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000, audio_in=500, output=100, audio_out=7)
    cost = book.rate(ask("gpt-4o-mini"), Response(), usage, NOW)
    assert (cost.status, cost.amount_nanousd) == ("partial", 210_000)
    assert cost.unpriced_units == ("audio_in", "audio_out")


def test_only_tokens_without_a_price_are_never_a_cost_of_nothing(book: PriceBook) -> None:
    cost = book.rate(ask("gpt-4o-mini"), Response(), Usage(audio_in=500), NOW)
    assert (cost.status, cost.amount_nanousd) == ("unpriced", None)
    assert cost.unpriced_units == ("audio_in",)


def test_a_memoised_plan_still_finds_tokens_without_a_price(book: PriceBook) -> None:
    assert book.rate(ask("gpt-4.1"), Response(), Usage(output=1), NOW).status == "priced"
    assert book.rate(ask("gpt-4.1"), Response(), Usage(output=1, audio_in=1), NOW).status == (
        "partial"
    )


def test_a_free_model_is_priced_at_zero(tiny_book: PriceBook) -> None:
    for _ in range(2):
        cost = tiny_book.rate(ask("free"), Response(), Usage(input_uncached=9, output=9), NOW)
        assert (cost.status, cost.amount_nanousd) == ("priced", 0)


def test_an_hour_of_caching_is_not_priced_as_five_minutes(tiny_book: PriceBook) -> None:
    usage = Usage(cache_write=10, cache_write_5m=10, cache_write_1h=10)
    cost = tiny_book.rate(ask("writes"), Response(), usage, NOW)
    assert (cost.status, cost.amount_nanousd) == ("partial", 40)
    assert cost.unpriced_units == ("cache_write_1h",)


def test_unknown_usage_has_no_cost(book: PriceBook) -> None:
    for _ in range(2):
        cost = book.rate(ask("gpt-4o"), Response(), Usage(status="unknown"), NOW)
        assert (cost.status, cost.amount_nanousd) == ("unknown", None)


def test_estimated_usage_is_priced(book: PriceBook) -> None:
    cost = book.rate(ask("gpt-4o"), Response(), Usage(status="estimated", output=1), NOW)
    assert (cost.status, cost.amount_nanousd) == ("priced", 10_000)


def test_the_model_of_the_answer_is_priced(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000)
    cost = book.rate(ask("gpt-4o"), Response(model="gpt-4o-2024-05-13"), usage, NOW)
    assert (cost.amount_nanousd, cost.matched_key) == (5_000_000, "gpt-4o-2024-05-13")


def test_the_model_asked_for_is_priced_when_the_answer_names_an_unknown_one(
    book: PriceBook,
) -> None:
    cost = book.rate(ask("gpt-4o"), Response(model="blue-7"), Usage(input_uncached=1_000), NOW)
    assert (cost.amount_nanousd, cost.matched_key) == (2_500_000, "gpt-4o")


def test_an_unknown_model_is_unpriced(book: PriceBook) -> None:
    cost = book.rate(ask("my-model"), Response(), Usage(input_uncached=1_000), NOW)
    assert (cost.status, cost.amount_nanousd, cost.is_assumed) == ("unpriced", None, False)
    assert cost.book_id == book.book_id


def test_an_unknown_provider_is_unpriced_with_or_without_a_ceiling(book: PriceBook) -> None:
    request = Request(provider="nobody", operation="chat", model="gpt-4o")
    for ceiling in (False, True):
        cost = book.rate(request, Response(), Usage(output=1), NOW, ceiling=ceiling)
        assert (cost.status, cost.amount_nanousd) == ("unpriced", None)


def test_the_ceiling_is_the_providers_dearest_row_and_says_that_it_is_assumed(
    book: PriceBook,
) -> None:
    """OpenAI's dearest: gpt-6-astra, long and ultrafast, in a region (165), and o1-pro (600)."""
    usage = Usage(input_uncached=10, output=10, reasoning=10)
    cost = book.rate(ask("my-model"), Response(), usage, NOW, ceiling=True)
    assert (cost.status, cost.amount_nanousd) == ("priced", 10 * 165_000 + 20 * 600_000)
    assert (cost.is_assumed, cost.matched_by, cost.matched_key) == (True, "ceiling", None)
    assert cost.row_ids == (
        "openai/gpt-6-astra:ultrafast>272000@2026-11-22",
        "openai/o1-pro:standard@",
    )


def test_a_ceiling_does_not_touch_a_model_with_a_price(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000, output=100)
    plain = book.rate(ask("gpt-4o-mini"), Response(), usage, NOW)
    assert book.rate(ask("gpt-4o-mini"), Response(), usage, NOW, ceiling=True) == plain


def test_a_price_of_an_assumed_provider_is_assumed(book: PriceBook) -> None:
    request = ask("gpt-4o", is_assumed=True)
    for _ in range(2):
        assert book.rate(request, Response(), Usage(output=1), NOW).is_assumed
    assert not book.rate(ask("gpt-4o"), Response(), Usage(output=1), NOW).is_assumed
