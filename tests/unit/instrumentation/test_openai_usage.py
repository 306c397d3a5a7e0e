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
            told(10, 9, {"image_tokens": 6}, {"image_tokens": 7}),
            Usage(input_uncached=4, image_in=6, output=2, image_out=7),
            id="images are a part of their own",
        ),
        pytest.param(
            told(10, 5, {"cached_tokens": 8, "image_tokens": 6}),
            Usage(cache_read=8, image_in=2, output=5),
            id="an image that was cached is not counted twice",
        ),
        pytest.param(
            told(
                20,
                5,
                {
                    "cached_tokens": 9,
                    "audio_tokens": 4,
                    "image_tokens": 6,
                    "cached_tokens_details": {"audio_tokens": 3, "image_tokens": 5},
                },
            ),
            Usage(
                input_uncached=9,
                cache_read=1,
                audio_cache_read=3,
                image_cache_read=5,
                audio_in=1,
                image_in=1,
                output=5,
            ),
            id="what was cached is told apart where the provider does",
        ),
        pytest.param(
            told(10, 5, {"image_tokens": 12}),
            Usage(image_in=10, output=5, flags=("input_parts_exceed_total",)),
            id="more images than there are tokens",
        ),
        pytest.param(
            told(10, None) | {"total_tokens": 10}, Usage(input_uncached=10), id="only scored"
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
        ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"),
        COUNTS,
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
        usage.reasoning, usage.audio_out, usage.image_in, usage.image_out,
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


@pytest.mark.parametrize(
    ("beside", "picousd"),
    [
        ({}, None),
        pytest.param({"cost": 0.00014}, 140_000_000, id="OpenRouter"),
        pytest.param({"cost": 1e-7, "is_byok": False}, 100_000, id="a small one"),
        pytest.param(
            {
                "cost": 0.000007,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.00014},
            },
            147_000_000,
            id="OpenRouter with the caller's own key",
        ),
        pytest.param({"cost": {"total_cost": 0.006}}, 6_000_000_000, id="Perplexity"),
        pytest.param({"cost_in_usd_ticks": 1_234}, 123_400, id="xAI"),
        pytest.param({"cost": 0}, 0, id="free"),
        pytest.param({"cost": None}, None, id="none"),
        pytest.param({"cost": "much"}, None, id="no number"),
        pytest.param({"cost": float("nan")}, None, id="nan"),
        pytest.param({"cost": -1}, None, id="negative"),
        pytest.param({"cost": True}, None, id="bool"),
    ],
)
def test_what_the_provider_itself_says_that_it_cost_is_kept(
    beside: dict[str, object], picousd: int | None
) -> None:
    plain = told(10, 5)
    assert read_usage({**plain, **beside}).reported_cost_picousd == picousd
    assert read_usage(CompletionUsage.model_validate({**plain, "total_tokens": 15, **beside})) == (
        read_usage({**plain, **beside})
    )
