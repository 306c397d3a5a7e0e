"""The most tokens that a call can use: never fewer than it is then billed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import Request

BOOK = PriceBook.load()
NOW = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * 1_000_000_000
CONSTANT = 1_024


def asked(model: str = "gpt-4o-mini", **more: object) -> Request:
    fields: dict[str, object] = {
        "provider": "openai",
        "operation": "chat",
        "input_bytes": 1_000,
        "max_output_tokens": 100,
        **more,
    }
    return Request(model=model, **fields)  # type: ignore[arg-type]  # keywords of a table


@pytest.mark.parametrize(
    ("request_", "most", "reasons"),
    [
        pytest.param(asked(), 1_000 + CONSTANT + 100, (), id="bytes, constant and maximum"),
        pytest.param(asked(choices=3), 1_000 + CONSTANT + 300, (), id="each choice"),
        pytest.param(
            asked(max_output_tokens=None),
            1_000 + CONSTANT + 16_384,
            ("model_max",),
            id="no maximum",
        ),
        pytest.param(
            asked(unbounded=("url_media",)),
            128_000 + 100,
            ("context_window:url_media",),
            id="media by URL fills the window",
        ),
        pytest.param(
            asked(unbounded=("url_media",), input_reserve_tokens=5_000),
            5_100,
            ("reserve:input_tokens",),
            id="a declared reserve",
        ),
        pytest.param(
            asked("text-embedding-3-small", operation="embeddings", max_output_tokens=None),
            1_000 + CONSTANT,
            (),
            id="embeddings put nothing out",
        ),
        pytest.param(
            asked("no-such", provider="nobody"), 1_000 + CONSTANT + 100, (), id="an unknown model"
        ),
        pytest.param(
            asked("no-such", provider="nobody", max_output_tokens=None),
            None,
            ("no_output_limit",),
            id="nothing bounds the output",
        ),
        pytest.param(
            asked("no-such", provider="nobody", unbounded=("url_media",)),
            None,
            ("no_context_window:url_media",),
            id="nothing bounds the input",
        ),
    ],
)
def test_the_most_tokens_are_bounded_by_the_request_and_the_model(
    request_: Request, most: int | None, reasons: tuple[str, ...]
) -> None:
    assert BOOK.most_of(request_, "tokens", NOW) == (most, reasons)


def test_a_model_without_a_price_is_bounded_by_its_providers_largest() -> None:
    most, _ = BOOK.most_of(asked("gpt-99", max_output_tokens=None), "tokens", NOW, ceiling=True)
    assert most is not None
    assert most > 100_000


def searching(model: str = "gpt-4o", **more: object) -> Request:
    """Ask for a search without a maximum, whose findings are no bytes of the request."""
    return asked(model, unbounded=("server_tools",), unlimited=("web_searches",), **more)


def test_tools_without_a_maximum_have_the_rounds_of_their_reserve() -> None:
    most, _ = BOOK.most_of(searching(), "tokens", NOW)
    assert most == 11 * 128_000 + 100


def test_tools_of_a_model_without_a_price_have_them_too() -> None:
    once, _ = BOOK.most_of(
        asked("gpt-99", unbounded=("server_tools",)), "tokens", NOW, ceiling=True
    )
    most, _ = BOOK.most_of(searching("gpt-99"), "tokens", NOW, ceiling=True)
    assert once is not None
    assert most == 11 * (once - 100) + 100


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-99"])
def test_tools_that_nothing_limits_bound_no_tokens(model: str) -> None:
    book = PriceBook.load(overrides=parse_overrides("version: 1\nreserves: {web_searches: none}"))
    most, reasons = book.most_of(searching(model), "tokens", NOW, ceiling=True)
    assert most is None
    assert "no_limit:web_searches" in reasons


def test_output_without_a_price_is_counted_all_the_same() -> None:
    book = PriceBook.load(
        overrides=parse_overrides(
            "version: 1\n"
            "models: {openai/mine: {usd_per_million: {input: 1}, max_output_tokens: 500}}"
        )
    )
    assert book.most_of(asked("mine"), "tokens", NOW) == (1_000 + CONSTANT + 100, ())
    assert book.most_of(asked("mine", max_output_tokens=None), "tokens", NOW) == (
        1_000 + CONSTANT + 500,
        ("model_max",),
    )
    assert book.most_of(asked("davinci", provider="azure.ai.openai"), "tokens", NOW)[0] == (
        1_000 + CONSTANT + 100
    )


def test_each_round_of_a_tool_at_the_provider_reads_the_input_again() -> None:
    request = asked(rounds=3, quantities=(("web_searches", 2),), input_reserve_tokens=None)
    most, _ = BOOK.most_of(request, "tokens", NOW)
    assert most == 3 * (1_000 + CONSTANT) + 100


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content"])
def test_what_is_written_counts_also_where_the_book_has_no_price_for_it(operation: str) -> None:
    request = asked("davinci-002", provider="azure.ai.openai", operation=operation)
    assert BOOK.most_of(request, "tokens", NOW)[0] == 1_000 + CONSTANT + 100
