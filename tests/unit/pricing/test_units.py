"""What is no token, and what is no single run: tools, images, time, fees, iterations, reports."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from tollspan.pricing import PriceBook
from tollspan.usage import Cost, Iteration, Request, Response, Usage, sum_of


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


NOW = at("2026-11-22T12:00:00")


def rate(
    book: PriceBook, name: str, usage: Usage, said: Response | None = None, **rest: object
) -> Cost:
    """Rate a call twice, the second time from the memo, and see that its parts add up."""
    provider, _, model = name.partition("/")
    request = Request(provider=provider, operation="chat", model=model, **rest)  # type: ignore[arg-type]  # a test's shorthand
    cost, lines = book.explain(request, said or Response(), usage, NOW)
    for _ in range(2):
        assert book.rate(request, said or Response(), usage, NOW) == cost
    if cost.amount_nanousd is not None and cost.settled_by == "book":
        total = sum(line.count * (line.picousd or 0) / line.per for line in lines)
        assert cost.amount_nanousd == pytest.approx(total / 1_000, abs=0.51)
    return cost


def used(runs: tuple[Iteration, ...]) -> Usage:
    """Return the usage of a call with these runs."""
    return msgspec.structs.replace(Usage(iterations=runs), **sum_of(runs))


@pytest.mark.parametrize(
    ("name", "usage", "nanousd"),
    [
        # 1,000 x 2.50 + 100 x 10 USD per million, and 2 x 0.01
        pytest.param(
            "openai/gpt-4o",
            Usage(input_uncached=1_000, output=100, quantities=(("web_searches", 2),)),
            23_500_000,
            id="web searches cost 10 USD for a thousand",
        ),
        # 3 x 0.0025 + 1 x 0.03
        pytest.param(
            "openai/gpt-5.5",
            Usage(quantities=(("code_sessions", 1), ("storage_searches", 3))),
            37_500_000,
            id="file searches by the model's row, a container by the provider's fee",
        ),
        # 1,000 x 5 + 2 x 0.01 + 3 x 0
        pytest.param(
            "anthropic/claude-opus-5",
            Usage(input_uncached=1_000, quantities=(("web_fetches", 3), ("web_searches", 2))),
            25_000_000,
            id="web fetch is free, and known to be",
        ),
        # 61.5 s x 0.36 USD an hour
        pytest.param(
            "openai/whisper-1",
            Usage(quantities=(("audio_in_ms", 61_500),)),
            6_150_000,
            id="transcription by the second",
        ),
        # 1,234 x 15 USD per million
        pytest.param(
            "openai/tts-1", Usage(quantities=(("characters", 1_234),)), 18_510_000, id="speech"
        ),
        # 2 x 0.167
        pytest.param(
            "openai/gpt-image-1",
            Usage(quantities=(("images:high/1024x1024", 2),)),
            334_000_000,
            id="images by quality and size",
        ),
        # 8 s x 0.10
        pytest.param(
            "openai/sora-2",
            Usage(quantities=(("video_out_ms", 8_000),)),
            800_000_000,
            id="video by the second",
        ),
        pytest.param(
            "openai/sora-2",
            Usage(quantities=(("video_out_ms:720p", 8_000),)),
            800_000_000,
            id="one price for all sizes",
        ),
        # 8 s x 0.30, and x 0.50
        pytest.param(
            "openai/sora-2-pro",
            Usage(quantities=(("video_out_ms:720p", 8_000),)),
            2_400_000_000,
            id="the smaller size",
        ),
        pytest.param(
            "openai/sora-2-pro",
            Usage(quantities=(("video_out_ms:1024p", 8_000),)),
            4_000_000_000,
            id="the larger size",
        ),
        # 10 pages x 0.004 + 2 x 0.005
        pytest.param(
            "mistral_ai/mistral-ocr-latest",
            Usage(quantities=(("annotated_pages", 2), ("pages", 10))),
            50_000_000,
            id="pages read, and pages annotated",
        ),
        # 1,000 x 1 + 100 x 1 + a request at 0.012
        pytest.param(
            "perplexity/sonar",
            Usage(input_uncached=1_000, output=100),
            13_100_000,
            id="a fee for the request",
        ),
        # 60 s x 4.80 USD an hour: 4/3 of a million pico-USD a millisecond, exact all the same
        pytest.param(
            "x_ai/grok-voice-think-fast-2.0",
            Usage(quantities=(("audio_in_ms", 60_001),)),
            80_001_333,
            id="a price that is no decimal",
        ),
        # 100 x 10 + 900 x 0.30 (cached audio) + 50 x 0.60 + 20 x 0.06, gpt-realtime-mini
        pytest.param(
            "openai/gpt-realtime-mini",
            Usage(audio_in=100, audio_cache_read=900, input_uncached=50, cache_read=20),
            1_301_200,
            id="cached audio has a price of its own",
        ),
        # 100 x 0.30 + 900 x 0.03 + 50 x 1.00 + 400 x 0.10
        pytest.param(
            "gcp.gemini/gemini-2.5-flash",
            Usage(input_uncached=100, cache_read=900, audio_in=50, audio_cache_read=400),
            147_000,
            id="at Gemini too",
        ),
    ],
)
def test_a_call_costs_what_the_price_page_says(
    book: PriceBook, name: str, usage: Usage, nanousd: int
) -> None:
    cost = rate(book, name, usage)
    assert (cost.status, cost.amount_nanousd) == ("priced", nanousd)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        pytest.param("openai/gpt-4o", "maps_searches", id="a tool that the model has not"),
        pytest.param("openai/gpt-image-1", "images:ultra/1x1", id="another size than those known"),
        pytest.param("anthropic/claude-opus-5", "code_executions", id="billed by the hour"),
        pytest.param("nobody/m", "web_searches", id="an unknown provider"),
    ],
)
def test_a_unit_without_a_price_is_never_free(book: PriceBook, name: str, unit: str) -> None:
    cost = rate(book, name, Usage(quantities=((unit, 1),)))
    assert (cost.status, cost.amount_nanousd) == ("unpriced", None)
    assert cost.unpriced_units == (unit,)
    if not name.startswith("nobody"):
        both = rate(book, name, Usage(input_uncached=1_000, quantities=((unit, 1),)))
        assert (both.status, both.unpriced_units) == ("partial", (unit,))
        assert both.amount_nanousd == rate(book, name, Usage(input_uncached=1_000)).amount_nanousd


@pytest.mark.parametrize("name", ["openai/whisper-1", "openai/tts-1"])
def test_tokens_of_a_model_that_is_billed_otherwise_are_never_free(
    book: PriceBook, name: str
) -> None:
    """The first source's own trap: transcription and speech priced by tokens cost it nothing."""
    cost = rate(book, name, Usage(input_uncached=1_000))
    assert (cost.status, cost.amount_nanousd) == ("unpriced", None)


def test_a_tier_that_nobody_knows_is_not_priced_as_standard(book: PriceBook) -> None:
    """Another of its traps: it ignores a tier that it does not know."""
    cost = rate(book, "openai/gpt-4o", Usage(output=1), Response(service_tier="nonsense"))
    assert (cost.status, cost.matched_key) == ("unpriced", "gpt-4o")


def test_a_unit_that_was_not_used_needs_no_price(book: PriceBook) -> None:
    cost = rate(book, "openai/gpt-4o", Usage(output=1, quantities=(("maps_searches", 0),)))
    assert (cost.status, cost.amount_nanousd) == ("priced", 10_000)


def test_tools_cost_the_same_in_a_region_and_tokens_more(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000, quantities=(("web_searches", 1),))
    plain = rate(book, "openai/gpt-5.5", usage).amount_nanousd
    assert plain == 5_000_000 + 10_000_000
    there = rate(book, "openai/gpt-5.5", usage, host="eu.api.openai.com")
    assert there.amount_nanousd == 5_500_000 + 10_000_000


def test_each_iteration_is_priced_by_its_own_model_and_context(book: PriceBook) -> None:
    """An advisor on a dearer model, and one run past the 200,000 tokens of Sonnet 4.5's cliff."""
    runs = (
        Iteration(input_uncached=1_000, output=100),
        Iteration(input_uncached=199_999, cache_read=2, output=10),
        Iteration(input_uncached=500, output=50, model="claude-opus-5"),
    )
    cost = rate(book, "anthropic/claude-sonnet-4-5", used(runs))
    first = 1_000 * 3_000 + 100 * 15_000
    second = 199_999 * 6_000 + 2 * 600 + 10 * 22_500
    third = 500 * 5_000 + 50 * 25_000
    assert (cost.status, cost.amount_nanousd) == ("priced", first + second + third)
    assert cost.row_ids == (
        "anthropic/claude-sonnet-4-5:standard@",
        "anthropic/claude-sonnet-4-5:standard>200000@",
        "anthropic/claude-opus-5:standard@",
    )


def test_an_iteration_on_an_unknown_model_makes_the_cost_partial(book: PriceBook) -> None:
    runs = (Iteration(output=100), Iteration(output=50, model="claude-next"))
    usage = used(runs)
    cost = rate(book, "anthropic/claude-opus-5", usage)
    assert (cost.status, cost.amount_nanousd) == ("partial", 100 * 25_000)
    assert cost.unpriced_units == ("output",)


def test_the_top_level_is_the_sum_and_is_not_billed_twice(book: PriceBook) -> None:
    runs = (Iteration(input_uncached=10, output=1), Iteration(input_uncached=20, output=2))
    usage = used(runs)
    assert (usage.input_tokens, usage.output_tokens) == (30, 3)
    plain = rate(book, "anthropic/claude-opus-5", Usage(input_uncached=30, output=3))
    assert rate(book, "anthropic/claude-opus-5", usage).amount_nanousd == plain.amount_nanousd


@pytest.mark.parametrize(
    ("speed", "picousd"), [("fast", 10_000_000), ("standard", 5_000_000), (None, 5_000_000)]
)
def test_speed_is_priced_like_a_tier(book: PriceBook, speed: str | None, picousd: int) -> None:
    cost = rate(
        book, "anthropic/claude-opus-5", Usage(input_uncached=1_000), Response(service_tier=speed)
    )
    assert cost.amount_nanousd == picousd


@pytest.mark.parametrize(
    ("moment", "nanousd"),
    [
        pytest.param("2026-11-22T00:59:59", 1_980_000, id="off peak"),
        pytest.param("2026-11-22T01:00:00", 3_960_000, id="the first minute of the peak"),
        pytest.param("2026-11-22T03:59:59", 3_960_000, id="its last"),
        pytest.param("2026-11-22T04:00:00", 1_980_000, id="after it"),
        pytest.param("2026-11-22T23:59:59", 1_980_000, id="before midnight"),
        pytest.param("2026-08-16T12:00:00", 870_000, id="before the price was raised"),
    ],
)
def test_a_price_may_depend_on_the_time_of_day(book: PriceBook, moment: str, nanousd: int) -> None:
    request = Request(
        provider="deepseek", operation="chat", model="deepseek-v4-pro", max_output_tokens=1_000
    )
    for _ in range(2):
        cost = book.rate(request, Response(), Usage(output=1_000), at(moment))
        assert cost.amount_nanousd == nanousd
        bound = book.bound(request, at(moment))
        assert bound.amount_nanousd is not None
        assert bound.amount_nanousd > nanousd


def test_our_figure_settles_and_the_providers_own_is_kept_beside_it(book: PriceBook) -> None:
    usage = Usage(input_uncached=1_000, reported_cost_picousd=2_600_000_500)
    cost = rate(book, "openai/gpt-4o", usage)
    assert (cost.amount_nanousd, cost.settled_by) == (2_500_000, "book")
    assert (cost.reported_nanousd, cost.difference_nanousd) == (2_600_000, -100_000)


def test_a_reported_cost_settles_where_the_price_list_says_so(book: PriceBook) -> None:
    """OpenRouter: the host that serves a call, and so its price, is chosen call by call."""
    usage = Usage(input_uncached=1_000, reported_cost_picousd=2_600_000_000)
    cost = rate(book, "openrouter/openai/gpt-4o", usage)
    assert (cost.status, cost.amount_nanousd) == ("priced", 2_600_000)
    assert (cost.settled_by, cost.computed_nanousd) == ("reported", 2_500_000)
    assert cost.difference_nanousd == -100_000
    assert cost.matched_key == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        pytest.param("x_ai/grok-unheard-of", Usage(output=1), id="no row"),
        pytest.param("openai/gpt-4o", Usage(output=1, audio_in=9), id="a part without a price"),
        pytest.param("openai/gpt-4o", Usage(status="unknown"), id="unknown usage"),
    ],
)
def test_a_reported_cost_settles_what_we_can_not_price(
    book: PriceBook, name: str, usage: Usage
) -> None:
    with_cost = msgspec.structs.replace(usage, reported_cost_picousd=7_000)
    cost = rate(book, name, with_cost)
    assert (cost.status, cost.amount_nanousd, cost.settled_by) == ("priced", 7, "reported")
    assert rate(book, name, usage).status != "priced"


def test_a_ceiling_gives_way_to_a_reported_cost(book: PriceBook) -> None:
    request = Request(provider="x_ai", operation="chat", model="grok-unheard-of")
    usage = Usage(output=1, reported_cost_picousd=7_000)
    cost = book.rate(request, Response(), usage, NOW, ceiling=True)
    assert (cost.amount_nanousd, cost.is_assumed, cost.settled_by) == (7, False, "reported")


def test_difference_needs_both_figures() -> None:
    assert Cost(status="priced", amount_nanousd=1).difference_nanousd is None
    reported = Cost(status="priced", amount_nanousd=5, reported_nanousd=5, settled_by="reported")
    assert reported.difference_nanousd is None
