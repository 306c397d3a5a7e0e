"""What is read from a response: usage, tools, and how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.responses import CompactedResponse, ResponseUsage
from openai.types.responses import Response as SdkResponse

from tollspan.instrumentation._shapes import Reading, View
from tollspan.instrumentation.openai._responses import ResponsesShape
from tollspan.instrumentation.openai._usage import read_response_usage
from tollspan.usage import Iteration, Response, Usage

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai" / "responses.json"
ANSWERS: dict[str, dict[str, Any]] = json.loads(FIXTURE.read_text("utf-8"))["answers"]
SHAPE = ResponsesShape()
RAN = Response(
    id="resp_1",
    model="gpt-5.4-2026-03-05",
    finish_reasons=("completed",),
    service_tier="default",
)


def said(name: str) -> Reading:
    """Read an answer of the fixture, as the SDK gives it and as JSON: both say the same."""
    document = ANSWERS[name]
    kind = CompactedResponse if document["object"] == "response.compaction" else SdkResponse
    reading = SHAPE.answer(construct_type(type_=kind, value=document))
    assert SHAPE.answer(View(document)) == reading
    return reading


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("text", Usage(input_uncached=12, output=5)),
        (
            "all buckets",
            Usage(input_uncached=30, cache_read=40, cache_write=30, output=30, reasoning=20),
        ),
        (
            "web search",
            Usage(
                input_uncached=9000, output=200, reasoning=100, quantities=(("web_searches", 2),)
            ),
        ),
        (
            "tools at the provider",
            Usage(
                input_uncached=5000,
                output=200,
                quantities=(("code_sessions", 2), ("storage_searches", 2)),
            ),
        ),
    ],
)
def test_usage_is_counted_once(name: str, usage: Usage) -> None:
    assert said(name) == Reading(usage, RAN)


@pytest.mark.parametrize(
    ("name", "reason", "usage"),
    [
        ("incomplete", ("max_output_tokens",), Usage(input_uncached=12, output=16)),
        ("failed, billed", ("failed",), Usage(input_uncached=12, output=3)),
        ("failed", ("failed",), Usage(status="unknown")),
        ("background", (), Usage(status="unknown")),
    ],
)
def test_however_it_ended_its_usage_is_billed(
    name: str, reason: tuple[str, ...], usage: Usage
) -> None:
    reading = said(name)
    assert reading.usage == usage
    assert reading.response.finish_reasons == reason
    assert reading.response.id == "resp_1"


def test_a_compacted_response_says_what_the_compaction_used() -> None:
    usage = Usage(input_uncached=700, output=50, reasoning=40)
    assert said("compacted") == Reading(usage, Response(id="resp_2"))


def test_images_are_a_run_of_their_own_model() -> None:
    reading = said("images")
    assert reading.usage is not None
    own = Iteration(input_uncached=60, output=20)
    images = Iteration(
        model="gpt-image-2.5-flare",
        input_uncached=70,
        cache_read=30,
        image_in=120,
        image_cache_read=80,
        output=56,
        image_out=1000,
    )
    assert reading.usage.iterations == (own, images)
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (360, 1076)
    assert not reading.is_incomplete


def changed(name: str, **fields: object) -> Reading:
    """Read an answer of the fixture with other fields."""
    document = {**ANSWERS[name], **fields}
    reading = SHAPE.answer(View(document))
    assert SHAPE.answer(construct_type(type_=SdkResponse, value=document)) == reading
    return reading


def test_an_image_that_nobody_counted_leaves_the_usage_incomplete() -> None:
    reading = changed("images", tool_usage=None)
    assert reading.is_incomplete
    assert reading.usage == Usage(input_uncached=60, output=20)


def test_an_image_of_an_unnamed_model_has_no_price() -> None:
    reading = changed("images", tools=[{"type": "image_generation"}])
    assert reading.usage is not None
    assert reading.usage.iterations[1].model == "image_generation"


@pytest.mark.parametrize(
    ("tool_usage", "searches"),
    [(None, 2), ({"web_search": {"num_requests": 1}}, 1), ({"web_search": {"num_requests": 0}}, 0),
     ({"web_search": None}, 2), ({}, 2)],
)  # fmt: skip
def test_the_provider_knows_best_which_searches_it_bills(tool_usage: object, searches: int) -> None:
    reading = changed("web search", tool_usage=tool_usage)
    assert reading.usage is not None
    assert dict(reading.usage.quantities).get("web_searches", 0) == searches


def test_a_larger_container_has_a_price_of_its_own() -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}}
    reading = changed("tools at the provider", tools=[{"type": "mcp"}, tool])
    assert reading.usage is not None
    assert reading.usage.quantities == (("code_sessions:16g", 2), ("storage_searches", 2))


def test_a_shell_in_a_container_is_a_session_and_one_at_home_is_none() -> None:
    where: list[object] = [
        {"type": "container_reference", "container_id": "cntr_9"}, {"type": "local"}, None,
    ]  # fmt: skip
    calls = [{"type": "shell_call", "id": str(one), "environment": one} for one in where]
    reading = changed("text", output=calls)
    assert reading.usage is not None
    assert reading.usage.quantities == (("code_sessions", 1),)


def test_usage_on_the_way_is_not_the_last_word() -> None:
    reading = changed("text", status="in_progress")
    assert reading.usage == Usage(status="estimated", input_uncached=12, output=5)
    assert reading.is_incomplete
    assert reading.response.finish_reasons == ()


@pytest.mark.parametrize("usage", [{}, {"input_tokens": "12"}, {"input_tokens": 12}, []])
def test_usage_that_makes_no_sense_is_unknown(usage: object) -> None:
    reading = SHAPE.answer(View({**ANSWERS["text"], "usage": usage}))
    assert reading.usage == Usage(status="unknown", flags=("malformed_usage",))


@pytest.mark.parametrize("answer", [object(), None, View({}), View({"output": 7, "tools": "x"})])
def test_an_answer_that_says_nothing_is_unknown(answer: object) -> None:
    assert SHAPE.answer(answer) == Reading(Usage(status="unknown"), Response())


def test_an_answer_of_an_older_sdk_is_read_where_its_newer_fields_are_plain_json() -> None:
    class Old:
        """Has what openai 1.66 had, and JSON in what it did not know."""

        id = "resp_1"
        model = "gpt-4o"
        status = "completed"
        tools = ()

        def __init__(self, **fields: object) -> None:
            self.__dict__.update(fields)

    search = Old(type="web_search_call", id="ws_1", status="completed")
    newer = Old(type="web_search_call", id="ws_2", action={"type": "open_page"})
    usage = Old(input_tokens=9, output_tokens=3, input_tokens_details={"cached_tokens": 4})
    reading = SHAPE.answer(Old(output=[search, newer, {"type": "file_search_call"}], usage=usage))
    assert reading.usage == Usage(
        input_uncached=5,
        cache_read=4,
        output=3,
        quantities=(("storage_searches", 1), ("web_searches", 1)),
    )


TOTALS = st.integers(0, 10**12)
PARTS = st.none() | st.fixed_dictionaries(
    dict.fromkeys(
        ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"),
        st.integers(-5, 10**12),
    ),
    optional={
        "cached_tokens_details": st.fixed_dictionaries(
            dict.fromkeys(("audio_tokens", "image_tokens"), st.integers(-5, 10**12))
        )
    },
)


@settings(max_examples=50)
@given(TOTALS, TOTALS, PARTS, PARTS)
def test_buckets_add_up_to_the_totals_and_are_never_negative(
    into: int, out: int, into_details: Any, out_details: Any
) -> None:
    document = {
        "input_tokens": into,
        "output_tokens": out,
        "input_tokens_details": into_details,
        "output_tokens_details": out_details,
    }
    usage = read_response_usage(document)
    assert (usage.status, usage.input_tokens, usage.output_tokens) == ("reported", into, out)
    buckets = [getattr(usage, name) for name in Iteration.__struct_fields__ if name != "model"]
    assert min(buckets) >= 0
    assert read_response_usage(ResponseUsage.construct(**cast("Any", document))) == usage
    assert read_response_usage(View(document)) == usage
