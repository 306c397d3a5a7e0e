"""The most that a call can cost, figures worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import Request, Response, Usage

NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 1_000_000_000


def ask(model: str, **rest: object) -> Request:
    return Request(provider="openai", operation="chat", model=model, **rest)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("request_", "nanousd", "reasons"),
    [
        # (976 + 1,024) x 0.15 + 100 x 0.60; a standard call
        pytest.param(
            ask("gpt-4o-mini", input_bytes=976, max_output_tokens=100, service_tier="default"),
            360_000,
            (),
            id="bytes and the constant, the caller's limit",
        ),
        # (976 + 1,024) x 0.25 + 100 x 1.00: the project may be set to priority
        pytest.param(
            ask("gpt-4o-mini", input_bytes=976, max_output_tokens=100),
            600_000,
            (),
            id="no tier asked for may run as priority",
        ),
        # 2,000 x 0.15 + (3 x 100 + 50) x 0.60
        pytest.param(
            ask(
                "gpt-4o-mini",
                input_bytes=976,
                max_output_tokens=100,
                choices=3,
                prediction_bytes=50,
                service_tier="default",
            ),
            510_000,
            (),
            id="every choice and all that was predicted",
        ),
        # 2,000 x 0.15 + 16,384 x 0.60
        pytest.param(
            ask("gpt-4o-mini", input_bytes=976, service_tier="default"),
            10_130_400,
            ("model_max",),
            id="the model's own limit",
        ),
        # 128,000 x 0.15 + 100 x 0.60
        pytest.param(
            ask(
                "gpt-4o-mini",
                unbounded=("url_media", "history"),
                max_output_tokens=100,
                service_tier="default",
            ),
            19_260_000,
            ("context_window:url_media",),
            id="the window where bytes are no bound",
        ),
        # 2,000 x 5 + 100 x 20: a cache write is dearer than the plain 4
        pytest.param(
            ask("gpt-5.6-sol", input_bytes=976, max_output_tokens=100, service_tier="default"),
            12_000_000,
            (),
            id="input may be written to the cache",
        ),
        # 2,000 x 32 + 100 x 64
        pytest.param(
            ask("gpt-audio", input_bytes=976, max_output_tokens=100),
            70_400_000,
            (),
            id="a model that hears and speaks may do only that",
        ),
        # 2,000 x 1.25 + 100 x 10: flex may be refused in favour of standard
        pytest.param(
            ask("gpt-5", input_bytes=976, max_output_tokens=100, service_tier="flex"),
            3_500_000,
            (),
            id="flex may run as standard",
        ),
        # 2,000 x 0.625 + 100 x 5
        pytest.param(
            ask("gpt-5", input_bytes=976, max_output_tokens=100, service_tier="batch"),
            1_750_000,
            (),
            id="a batch is a batch",
        ),
        # 2,000 x 0.02, and no output at all
        pytest.param(
            ask("text-embedding-3-small", input_bytes=976, service_tier="default"),
            40_000,
            (),
            id="embeddings need no output limit",
        ),
        # 2,000 x 2.50 + 128,000 x 10: nobody knows its output limit
        pytest.param(
            ask("gpt-4o-audio-preview", input_bytes=976),
            1_285_000_000,
            ("context_window:output",),
            id="the window where no limit is known",
        ),
        pytest.param(
            ask("babbage-002", input_bytes=976), None, ("no_output_limit",), id="no limit"
        ),
        pytest.param(
            ask("babbage-002", unbounded=("history",), max_output_tokens=1),
            None,
            ("no_context_window:history",),
            id="no window",
        ),
        pytest.param(ask("my-model", max_output_tokens=1), None, ("unpriced",), id="no row"),
        pytest.param(
            ask("gpt-4o", max_output_tokens=1, service_tier="scale"),
            None,
            ("unpriced",),
            id="no row in this tier",
        ),
    ],
)
def test_a_bound_is_the_dearest_that_can_happen(
    book: PriceBook, request_: Request, nanousd: int | None, reasons: tuple[str, ...]
) -> None:
    for _ in range(2):
        bound = book.bound(request_, NOW)
        assert (bound.amount_nanousd, bound.reasons) == (nanousd, reasons)
        assert not bound.is_assumed


@pytest.mark.parametrize(
    ("size", "nanousd"),
    [
        pytest.param(272_000 - 1_024, 272_000 * 5_000 + 30_000, id="at the threshold"),
        pytest.param(272_001 - 1_024, 272_001 * 10_000 + 45_000, id="one byte more"),
        pytest.param(10, 1_034 * 5_000 + 30_000, id="small again"),
    ],
)
def test_a_context_tier_counts_once_it_can_be_reached(
    book: PriceBook, size: int, nanousd: int
) -> None:
    request = ask("gpt-5.5", input_bytes=size, max_output_tokens=1, service_tier="default")
    for _ in range(2):
        assert book.bound(request, NOW).amount_nanousd == nanousd


def test_a_bound_is_rounded_up(tiny_book: PriceBook) -> None:
    amounts = [
        tiny_book.bound(ask("pico", input_bytes=size, max_output_tokens=0), NOW).amount_nanousd
        for size in (0, 1, 1_000, 1_001)
    ]
    assert amounts == [0, 1, 1, 2]


def test_a_limit_above_the_models_own_is_taken_as_it_is(book: PriceBook) -> None:
    """The provider would refuse the call, so holding for it harms nobody."""
    request = ask("gpt-4o-mini", max_output_tokens=10**6, service_tier="default")
    assert book.bound(request, NOW).amount_nanousd == 1_024 * 150 + 10**6 * 600


def test_the_ceiling_is_the_providers_dearest_and_says_that_it_is_assumed(
    book: PriceBook,
) -> None:
    request = ask("my-model", input_bytes=976, max_output_tokens=10)
    bound = book.bound(request, NOW, ceiling=True)
    assert bound.amount_nanousd == 2_000 * 165_000 + 10 * 600_000
    assert (bound.is_assumed, bound.reasons) == (True, ("ceiling",))


def test_the_ceiling_without_a_limit_takes_the_largest_models(book: PriceBook) -> None:
    bound = book.bound(ask("my-model", unbounded=("history",)), NOW, ceiling=True)
    assert bound.reasons == ("ceiling", "context_window:history", "model_max")
    assert bound.amount_nanousd is not None
    assert bound.amount_nanousd >= 1_050_000 * 165_000 + 128_000 * 600_000


def test_a_ceiling_without_limits_bounds_nothing(tiny_book: PriceBook) -> None:
    bound = tiny_book.bound(ask("my-model"), NOW, ceiling=True)
    assert (bound.amount_nanousd, bound.reasons) == (None, ("ceiling", "no_output_limit"))


def test_a_ceiling_covers_what_it_would_cost(book: PriceBook) -> None:
    request = ask("my-model", input_bytes=10, max_output_tokens=10)
    usage = Usage(cache_write_1h=1_034, audio_out=10)
    cost = book.rate(request, Response(), usage, NOW, ceiling=True)
    assert cost.amount_nanousd == book.bound(request, NOW, ceiling=True).amount_nanousd


def test_a_ceiling_covers_a_fee_for_the_request(book: PriceBook) -> None:
    request = Request(
        provider="perplexity", operation="chat", model="new", input_bytes=10, max_output_tokens=10
    )
    usage = Usage(input_uncached=1_034, output=10)
    cost = book.rate(request, Response(), usage, NOW, ceiling=True)
    assert cost.amount_nanousd == book.bound(request, NOW, ceiling=True).amount_nanousd
    assert "perplexity:ceiling:requests" in cost.row_ids


def test_an_operators_price_above_the_ceiling_raises_it() -> None:
    own = parse_overrides("version: 1\nmodels: {openai/gpt-4o: {usd_per_million: {output: 9000}}}")
    book = PriceBook.load(None, own)
    request = ask("gpt-4o", max_output_tokens=10, service_tier="scale")
    cost = book.rate(request, Response(service_tier="default"), Usage(output=10), NOW)
    bound = book.bound(request, NOW, ceiling=True)
    assert cost.amount_nanousd == 10 * 9_000_000
    assert bound.amount_nanousd is not None
    assert bound.amount_nanousd >= cost.amount_nanousd


def test_an_unknown_provider_has_no_bound(book: PriceBook) -> None:
    request = Request(provider="nobody", operation="chat", model="m", max_output_tokens=1)
    for ceiling in (False, True):
        assert book.bound(request, NOW, ceiling=ceiling).reasons == ("unpriced",)


def test_a_bound_for_an_assumed_provider_is_assumed(book: PriceBook) -> None:
    for _ in range(2):
        assert book.bound(ask("gpt-4o", is_assumed=True), NOW).is_assumed


def test_a_price_cut_lowers_the_bound_from_its_day_on(book: PriceBook) -> None:
    day = int(datetime(2025, 6, 10, tzinfo=UTC).timestamp()) * 1_000_000_000
    request = ask("o3", max_output_tokens=1, service_tier="default")
    amounts = [book.bound(request, when).amount_nanousd for when in (day - 1, day, day - 1)]
    assert amounts == [1_024 * 10_000 + 40_000, 1_024 * 2_000 + 8_000, 1_024 * 10_000 + 40_000]


def anthropic(**rest: object) -> Request:
    return Request(provider="anthropic", operation="chat", model="claude-opus-5", **rest)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("request_", "nanousd", "reasons"),
    [
        # 1 window x 6 rounds x 10 (cache write 1h) + 100 x 25 + 5 x 0.01 USD
        pytest.param(
            anthropic(
                max_output_tokens=100,
                unbounded=("server_tool",),
                rounds=6,
                quantities=(("web_searches", 5),),
            ),
            1_000_000 * 6 * 10_000 + 100 * 25_000 + 5 * 10_000_000,
            ("context_window:server_tool",),
            id="each round may read the whole window",
        ),
        # nothing limits the tool: 10 searches, and so 11 rounds
        pytest.param(
            anthropic(
                max_output_tokens=100, unbounded=("server_tool",), unlimited=("web_searches",)
            ),
            1_000_000 * 11 * 10_000 + 100 * 25_000 + 10 * 10_000_000,
            ("context_window:server_tool", "reserve:web_searches"),
            id="a tool without a limit has a reserve",
        ),
        # what the caller declares: 200,000 x 10 + 100 x 25 + 10 x 0.01 USD
        pytest.param(
            anthropic(
                max_output_tokens=100,
                unbounded=("server_tool",),
                unlimited=("web_searches",),
                input_reserve_tokens=200_000,
            ),
            200_000 * 10_000 + 100 * 25_000 + 10 * 10_000_000,
            ("reserve:input_tokens", "reserve:web_searches"),
            id="declared input replaces the windows",
        ),
        # (976 + 1,024) x 2 rounds
        pytest.param(
            anthropic(max_output_tokens=100, input_bytes=976, rounds=2),
            4_000 * 10_000 + 100 * 25_000,
            (),
            id="bytes are read in each round",
        ),
        # a unit without a price: the amount leaves it out, and says so
        pytest.param(
            anthropic(max_output_tokens=0, input_bytes=976, quantities=(("maps_searches", 2),)),
            2_000 * 10_000,
            ("unpriced:maps_searches",),
            id="a unit without a price",
        ),
        # 2 x 0.167 USD, and a prompt of 1,034 tokens at the dearest input, 10
        pytest.param(
            Request(
                provider="openai",
                operation="image_generation",
                model="gpt-image-1",
                input_bytes=10,
                service_tier="default",
                quantities=(("images:high/1024x1024", 2),),
            ),
            2 * 167_000_000 + 1_034 * 10_000,
            (),
            id="images need no output limit",
        ),
        pytest.param(
            Request(
                provider="openai",
                operation="audio_transcription",
                model="whisper-1",
                quantities=(("audio_in_ms", 60_000),),
            ),
            6_000_000,
            (),
            id="a minute of audio",
        ),
        pytest.param(
            Request(provider="openai", operation="audio_transcription", model="whisper-1"),
            None,
            ("no_limit:audio_in_ms",),
            id="audio of unknown length",
        ),
        # (976 + 1,024) x 1 + 100 x 1, and 0.012 for the request
        pytest.param(
            Request(
                provider="perplexity",
                operation="chat",
                model="sonar",
                input_bytes=976,
                max_output_tokens=100,
            ),
            2_100_000 + 12_000_000,
            (),
            id="a fee for the request",
        ),
    ],
)
def test_a_bound_holds_for_what_is_no_token(
    book: PriceBook, request_: Request, nanousd: int | None, reasons: tuple[str, ...]
) -> None:
    for _ in range(2):
        bound = book.bound(request_, NOW)
        assert (bound.amount_nanousd, bound.reasons) == (nanousd, reasons)


def test_a_ceiling_bounds_tools_too(book: PriceBook) -> None:
    request = Request(
        provider="anthropic",
        operation="chat",
        model="claude-next",
        input_bytes=976,
        max_output_tokens=0,
        quantities=(("maps_searches", 1), ("web_fetches", 3), ("web_searches", 2)),
    )
    bound = book.bound(request, NOW, ceiling=True)
    assert bound.reasons == ("ceiling", "unpriced:maps_searches")
    assert bound.amount_nanousd == 2_000 * 32_000 + 2 * 10_000_000
    usage = Usage(cache_write_1h=2_000, quantities=(("web_fetches", 3), ("web_searches", 2)))
    cost = book.rate(request, Response(), usage, NOW, ceiling=True)
    assert (cost.amount_nanousd, cost.is_assumed) == (bound.amount_nanousd, True)
    assert cost.row_ids[1:] == ("anthropic:web_fetches", "anthropic:ceiling:web_searches")


def test_a_bucket_that_is_never_filled_is_not_held_for(book: PriceBook) -> None:
    """Writing the cache for an hour costs twice the input, for five minutes 1.25 times."""
    writes = ("cache_write", "cache_write_5m", "cache_write_1h")
    held = []
    for never in (writes, writes[2:], ()):
        bound = book.bound(anthropic(input_bytes=100_000, never=never), NOW, ceiling=False)
        assert bound.amount_nanousd is not None
        held.append(bound.amount_nanousd)
    plain, five_minutes, an_hour = held
    assert plain < five_minutes < an_hour
    input_alone = an_hour - five_minutes
    assert five_minutes - plain == input_alone // 3  # 1.25 - 1 is a third of 2 - 1.25
