"""How Anthropic's counts, which leave out cached tokens and more, become disjoint buckets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.instrumentation._shapes import Reading, View
from tollspan.instrumentation.anthropic._usage import read_usage
from tollspan.instrumentation.anthropic.extract import MessagesShape
from tollspan.usage import TOKEN_BUCKETS, Iteration, Response, Tokens, Usage, sum_of

MALFORMED = Usage(status="unknown", flags=("malformed_usage",))
FIXTURE = Path(__file__).parents[2] / "fixtures" / "anthropic" / "usages.json"
ANSWERS: list[dict[str, Any]] = json.loads(FIXTURE.read_text())["answers"]
SHAPE = MessagesShape()


def read(usage: object) -> Usage:
    """Read usage from its JSON."""
    return read_usage(View({"usage": usage}).usage)


def told(uncached: object = 10, output: object = 5, **more: object) -> dict[str, object]:
    """Return usage as JSON."""
    return {"input_tokens": uncached, "output_tokens": output, **more}


def split(write_5m: object = 0, write_1h: object = 0) -> dict[str, object]:
    """Return the split of what was written to the cache."""
    return {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h}


DIFFER = ("cache_writes_differ_from_total",)


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        pytest.param(told(), Usage(input_uncached=10, output=5), id="an old SDK's two fields"),
        pytest.param(told(0, 0), Usage(), id="zero"),
        pytest.param(
            told(cache_read_input_tokens=4),
            Usage(input_uncached=10, cache_read=4, output=5),
            id="cached tokens are not among the input tokens",
        ),
        pytest.param(
            told(cache_read_input_tokens=None, cache_creation_input_tokens=None),
            Usage(input_uncached=10, output=5),
            id="null",
        ),
        pytest.param(
            told(cache_creation_input_tokens=7),
            Usage(input_uncached=10, cache_write_5m=7, output=5),
            id="writes without a split are for 5 minutes",
        ),
        pytest.param(
            told(cache_creation_input_tokens=7, cache_creation=split(3, 4)),
            Usage(input_uncached=10, cache_write_5m=3, cache_write_1h=4, output=5),
            id="writes with their split",
        ),
        pytest.param(
            told(cache_creation=split(3, 4)),
            Usage(input_uncached=10, cache_write_5m=3, cache_write_1h=4, output=5),
            id="a split without its total",
        ),
        pytest.param(
            told(cache_creation_input_tokens=9, cache_creation=split(3, 4)),
            Usage(input_uncached=10, cache_write_5m=5, cache_write_1h=4, output=5, flags=DIFFER),
            id="a split below its total",
        ),
        pytest.param(
            told(cache_creation_input_tokens=9, cache_creation=split(0, 4)),
            Usage(input_uncached=10, cache_write_1h=9, output=5, flags=DIFFER),
            id="a split below its total, all of it for an hour",
        ),
        pytest.param(
            told(cache_creation_input_tokens=5, cache_creation=split(3, 4)),
            Usage(input_uncached=10, cache_write_5m=1, cache_write_1h=4, output=5, flags=DIFFER),
            id="a split above its total keeps the dearer part",
        ),
        pytest.param(
            told(cache_creation_input_tokens=0, cache_creation=split(3, 4)),
            Usage(input_uncached=10, output=5, flags=DIFFER),
            id="a split of nothing",
        ),
        pytest.param(
            told(cache_creation_input_tokens=7, cache_creation=split(0, 0)),
            Usage(input_uncached=10, cache_write_5m=7, output=5),
            id="an empty split",
        ),
        pytest.param(
            told(output_tokens_details={"thinking_tokens": 4}),
            Usage(input_uncached=10, output=1, reasoning=4),
            id="thinking is part of the output",
        ),
        pytest.param(
            told(output_tokens_details={"thinking_tokens": 9}),
            Usage(input_uncached=10, reasoning=5, flags=("output_parts_exceed_total",)),
            id="more thinking than output",
        ),
        pytest.param(
            told(
                server_tool_use={
                    "web_search_requests": 3,
                    "web_fetch_requests": 2,
                    "code_execution_requests": 1,
                    "tool_search_requests": 8,
                }
            ),
            Usage(
                input_uncached=10,
                output=5,
                quantities=(("code_executions", 1), ("web_fetches", 2), ("web_searches", 3)),
            ),
            id="tools at the provider",
        ),
        pytest.param(
            told(server_tool_use={"web_search_requests": 0, "web_fetch_requests": None}),
            Usage(input_uncached=10, output=5),
            id="no use of tools",
        ),
        pytest.param(
            told(fallback_credit={"status": {"type": "redeemed"}}),
            Usage(input_uncached=10, output=5, flags=("fallback_credit",)),
            id="a credit that makes it cheaper than it looks",
        ),
        pytest.param(
            told(fallback_credit={"status": {"type": "not_applied", "reason": "expired"}}),
            Usage(input_uncached=10, output=5),
            id="a credit that was not applied",
        ),
        pytest.param(
            told(cache_read_input_tokens=-4, cache_creation_input_tokens="7", iterations=[]),
            Usage(input_uncached=10, output=5),
            id="parts that make no sense are none",
        ),
        pytest.param(
            told(iterations=[told(), {"type": "message", "input_tokens": "10"}]),
            Usage(input_uncached=10, output=5, flags=("malformed_iterations",)),
            id="an iteration that can't be read",
        ),
        pytest.param(
            told(iterations="many"),
            Usage(input_uncached=10, output=5, flags=("malformed_iterations",)),
            id="iterations that are no list",
        ),
        pytest.param(
            told(None, None, iterations=[told(3, 4)]),
            Usage(input_uncached=3, output=4, iterations=(Iteration(input_uncached=3, output=4),)),
            id="iterations without totals",
        ),
        pytest.param(
            told(
                10,
                9,
                output_tokens_details={"thinking_tokens": 6},
                iterations=[{**told(10, 9), "output_tokens_details": {"thinking_tokens": 5}}],
            ),
            Usage(
                input_uncached=10,
                output=4,
                reasoning=5,
                iterations=(Iteration(input_uncached=10, output=4, reasoning=5),),
            ),
            id="an iteration that knows its own thinking",
        ),
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
    assert read(given) == usage


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: str(case["id"]))
def test_the_answers_of_the_fixture_are_billed_in_full(case: dict[str, Any]) -> None:
    usage = SHAPE.answer(View(case["answer"])).usage
    assert usage is not None
    assert {bucket: n for bucket in TOKEN_BUCKETS if (n := getattr(usage, bucket))} == (
        case["buckets"]
    )
    assert usage.iterations == tuple(Iteration(**one) for one in case["iterations"])
    assert usage.quantities == tuple((unit, n) for unit, n in case.get("quantities", []))
    assert usage.flags == tuple(case["flags"])
    assert usage.status == "reported"


# --- laws ---

COUNTS = st.integers(0, 10**12)
ODD = st.none() | st.integers(-5, 10**12) | st.text(max_size=3) | st.booleans()
DETAILS = {
    "cache_read_input_tokens": ODD,
    "cache_creation_input_tokens": ODD,
    "cache_creation": st.none()
    | st.fixed_dictionaries({"ephemeral_5m_input_tokens": ODD, "ephemeral_1h_input_tokens": ODD}),
    "output_tokens_details": st.none() | st.fixed_dictionaries({"thinking_tokens": ODD}),
}
USAGES = st.fixed_dictionaries({"input_tokens": COUNTS, "output_tokens": COUNTS}, optional=DETAILS)
ENTRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["message", "compaction", "advisor_message", "fallback_message"]),
        "input_tokens": COUNTS,
        "output_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
        "cache_read_input_tokens": COUNTS,
    },
    optional={"model": st.sampled_from(["claude-opus-4-6", None])},
)


def whole(value: object) -> int:
    """Return a count that can be one."""
    return value if type(value) is int and value > 0 else 0


def input_total(told: dict[str, Any]) -> int:
    """Return the provider's own total of the input."""
    writes = told.get("cache_creation_input_tokens")
    if type(writes) is not int or writes < 0:
        writes = sum(map(whole, (told.get("cache_creation") or {}).values()))
    return int(told["input_tokens"]) + whole(told.get("cache_read_input_tokens")) + writes


@given(USAGES)
def test_buckets_add_up_to_the_totals_and_are_never_negative(told: dict[str, Any]) -> None:
    usage = read(told)
    assert usage.status == "reported"
    assert usage.input_tokens == input_total(told)
    assert usage.output_tokens == told["output_tokens"]
    assert min(getattr(usage, bucket) for bucket in TOKEN_BUCKETS) >= 0


@given(USAGES, st.lists(ENTRIES, min_size=1, max_size=4))
def test_the_sum_of_the_iterations_is_billed_and_never_less_than_the_totals(
    told: dict[str, Any], entries: list[dict[str, Any]]
) -> None:
    usage = read({**told, "iterations": entries})
    assert Tokens(**sum_of(usage.iterations)) == Tokens(
        **{bucket: getattr(usage, bucket) for bucket in TOKEN_BUCKETS}
    )
    assert [one.model for one in usage.iterations[: len(entries)]] == [
        entry.get("model") for entry in entries
    ]
    inputs = sum(map(input_total, entries))
    outputs = sum(entry["output_tokens"] for entry in entries)
    assert usage.input_tokens >= max(inputs, input_total(told))
    assert usage.output_tokens >= max(outputs, told["output_tokens"])
    if inputs >= input_total(told) and outputs >= told["output_tokens"]:
        assert (usage.input_tokens, usage.output_tokens) == (inputs, outputs)
    assert min(getattr(one, bucket) for one in usage.iterations for bucket in TOKEN_BUCKETS) >= 0


# --- answers ---


def answered(**more: object) -> Reading:
    """Read an answer with these members."""
    message = {
        "id": "msg_1",
        "model": "claude-opus-4-6",
        "usage": told(),
        "stop_reason": "end_turn",
    }
    return SHAPE.answer(View({**message, **more}))


@pytest.mark.parametrize(
    ("usage", "tier", "region"),
    [
        (told(), None, None),
        (told(service_tier="standard", inference_geo="global"), "standard", "global"),
        (told(service_tier="priority", inference_geo="us"), "priority", "us"),
        (told(service_tier="batch", inference_geo="not_available"), "batch", "not_available"),
        (told(service_tier="standard", speed="fast"), "fast", None),
        (told(service_tier="priority", speed="standard"), "priority", None),
        (told(service_tier=None, speed=None, inference_geo=None), None, None),
    ],
)
def test_the_tier_and_the_region_are_those_that_were_used(
    usage: dict[str, object], tier: str | None, region: str | None
) -> None:
    response = answered(usage=usage).response
    assert response == Response(
        id="msg_1",
        model="claude-opus-4-6",
        finish_reasons=("end_turn",),
        service_tier=tier,
        region=region,
    )


@pytest.mark.parametrize(
    "reason",
    [
        "max_tokens",
        "tool_use",
        "pause_turn",
        "refusal",
        "compaction",
        "model_context_window_exceeded",
    ],
)
def test_a_stop_reason_is_passed_as_it_is(reason: str) -> None:
    reading = answered(stop_reason=reason)
    assert reading.response.finish_reasons == (reason,)
    assert reading.usage == Usage(input_uncached=10, output=5)
    assert not reading.is_incomplete


def test_an_answer_that_says_nothing_is_unknown() -> None:
    assert SHAPE.answer(View({"type": "error"})) == Reading(Usage(status="unknown"), Response())
    assert SHAPE.answer(None) == Reading(Usage(status="unknown"), Response())
    assert answered(usage={}).usage == MALFORMED
    assert answered(id=7, model="", stop_reason=[], usage=None) == Reading(
        Usage(status="unknown"), Response()
    )


def test_iterations_that_can_not_be_read_leave_the_answer_incomplete() -> None:
    assert answered(usage=told(iterations=[{}])).is_incomplete
