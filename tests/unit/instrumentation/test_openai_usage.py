"""How OpenAI's inclusive counts become disjoint buckets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage

from tollspan.instrumentation.openai._usage import read_usage
from tollspan.usage import Usage

MALFORMED = Usage(status="unknown", flags=("malformed_usage",))


def told(
    prompt: object,
    completion: object,
    prompt_details: object = None,
    completion_details: object = None,
) -> dict[str, object]:
    """Return usage as JSON."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        pytest.param(told(10, 5), Usage(input_uncached=10, output=5), id="no details"),
        pytest.param(told(0, 0), Usage(), id="zero"),
        pytest.param(
            told(10, 5, {"cached_tokens": 4}),
            Usage(input_uncached=6, cache_read=4, output=5),
            id="cached tokens counted once",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 2}),
            Usage(input_uncached=1, cache_read=4, cache_write=3, audio_in=2, output=5),
            id="all parts of the input",
        ),
        pytest.param(
            told(10, 9, None, {"reasoning_tokens": 5, "audio_tokens": 3}),
            Usage(input_uncached=10, output=1, reasoning=5, audio_out=3),
            id="all parts of the output",
        ),
        pytest.param(
            told(
                10,
                9,
                None,
                {"accepted_prediction_tokens": 4, "rejected_prediction_tokens": 3},
            ),
            Usage(input_uncached=10, output=9),
            id="predictions are output",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": 12}),
            Usage(cache_read=10, output=5, flags=("input_parts_exceed_total",)),
            id="more cached than there is",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": 8, "cache_write_tokens": 8, "audio_tokens": 8}),
            Usage(cache_read=8, cache_write=2, output=5, flags=("input_parts_exceed_total",)),
            id="parts exceed the input",
        ),
        pytest.param(
            told(10, 5, None, {"reasoning_tokens": 4, "audio_tokens": 4}),
            Usage(
                input_uncached=10, reasoning=4, audio_out=1, flags=("output_parts_exceed_total",)
            ),
            id="parts exceed the output",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": -4}, {"reasoning_tokens": None}),
            Usage(input_uncached=10, output=5),
            id="parts that make no sense are none",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": "4"}, {"reasoning_tokens": 2.0}),
            Usage(input_uncached=10, output=5),
            id="parts of another type are none",
        ),
        pytest.param(told(10, 5, [], "x"), Usage(input_uncached=10, output=5), id="odd details"),
        pytest.param(told(None, 5), MALFORMED, id="no input"),
        pytest.param(told(10, None), MALFORMED, id="no output"),
        pytest.param(told(-1, 5), MALFORMED, id="negative"),
        pytest.param(told(10.0, 5), MALFORMED, id="float"),
        pytest.param(told("10", 5), MALFORMED, id="text"),
        pytest.param(told(True, 5), MALFORMED, id="bool"),
        pytest.param({}, MALFORMED, id="empty"),
        pytest.param(None, MALFORMED, id="None"),
        pytest.param(7, MALFORMED, id="a number"),
    ],
)
def test_counts_become_disjoint_buckets(given: object, usage: Usage) -> None:
    assert read_usage(given) == usage


COUNTS = st.integers(-5, 10**12) | st.none() | st.floats() | st.text(max_size=3)
TOTALS = st.integers(0, 10**12)
PARTS = st.none() | st.fixed_dictionaries(
    dict.fromkeys(
        ("cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens"), COUNTS
    )
)


@given(TOTALS, TOTALS, PARTS, PARTS)
def test_buckets_add_up_to_the_totals_and_are_never_negative(
    prompt: int, completion: int, into: object, out: object
) -> None:
    usage = read_usage(told(prompt, completion, into, out))
    assert usage.status == "reported"
    assert usage.input_tokens == prompt
    assert usage.output_tokens == completion
    buckets = (
        usage.input_uncached, usage.cache_read, usage.cache_write, usage.audio_in, usage.output,
        usage.reasoning, usage.audio_out,
    )  # fmt: skip
    assert min(buckets) >= 0


WHOLE = st.none() | st.fixed_dictionaries(
    {
        name: st.integers(-5, 10**12)
        for name in ("cached_tokens", "audio_tokens", "reasoning_tokens")
    }
)


@settings(max_examples=20)
@given(TOTALS, TOTALS, WHOLE, WHOLE)
def test_the_sdks_object_and_its_json_read_the_same(
    prompt: int, completion: int, into: Any, out: Any
) -> None:
    document: dict[str, Any] = told(prompt, completion, into, out)
    assert read_usage(CompletionUsage.construct(**document)) == read_usage(document)
