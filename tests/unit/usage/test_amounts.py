"""Amounts of budgets, as people and machines read them."""

from __future__ import annotations

import pytest

from tollspan.usage import count_of, format_amount, to_decimal


@pytest.mark.parametrize(
    ("amount", "unit", "words", "decimal"),
    [
        (1_500_000_000, "usd", "1.50 USD", "1.5"),
        (1, "calls", "1 call", "1"),
        (50_000, "tokens", "50000 tokens", "50000"),
        (1, "input_tokens", "1 input token", "1"),
        (1, "web_searches", "1 web search", "1"),
        (0, "web_fetches", "0 web fetches", "0"),
        (1_000, "seconds", "1 second", "1"),
        (1_050, "seconds", "1.05 seconds", "1.05"),
        (-250, "seconds", "-0.25 seconds", "-0.25"),
        (1, "pixel_mass", "1 pixel mass", "1"),
    ],
)
def test_an_amount_is_written_in_its_unit(amount: int, unit: str, words: str, decimal: str) -> None:
    assert (format_amount(amount, unit), to_decimal(amount, unit)) == (words, decimal)


def test_time_is_counted_in_milliseconds_whatever_it_was_used_for() -> None:
    quantities = (("audio_in_ms", 7), ("images", 9), ("seconds", 2), ("video_out_ms:720p", 5))
    assert count_of("seconds", quantities) == 2_012
    assert count_of("images", quantities) == 9
    assert count_of("audio_in_ms", quantities) == 7
