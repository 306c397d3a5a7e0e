"""What is read from a legacy completion: request, answer and stream."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN, omit
from openai._models import construct_type
from openai.types import Completion

from tollspan.instrumentation._hosts import HostTable, Route
from tollspan.instrumentation._shapes import Reading, Shape, StreamReader, View
from tollspan.instrumentation.openai._completions import CompletionsShape
from tollspan.usage import Request, Response, Usage, estimate_input_tokens, estimate_tokens

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai" / "completions.json"
DOCUMENT: dict[str, Any] = json.loads(FIXTURE.read_text("utf-8"))
ANSWER: dict[str, Any] = DOCUMENT["answer"]
STREAM: list[dict[str, Any]] = DOCUMENT["stream"]
MODEL = "gpt-3.5-turbo-instruct:20230824-v2"
SHAPE = CompletionsShape()


def route(host: str = "api.openai.com") -> Route:
    """Return where a client of this host sends."""
    url = cast("Any", SimpleNamespace(host=host, port=None))
    return HostTable("openai", {"api.openai.com": "openai", "azure": "azure"}).route(url)


ROUTE = route()


def read(**body: object) -> Request:
    """Read a request with this body."""
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", **body}
    return SHAPE.request(asked, ROUTE, is_stream=bool(body.get("stream")))


def test_it_is_a_shape_that_costs_money() -> None:
    shape: Shape = SHAPE
    assert shape is SHAPE
    assert not SHAPE.is_free


def test_a_plain_request() -> None:
    assert read(stream=True, echo=True, temperature=1, user="u" * 99, seed=1) == Request(
        provider="openai",
        operation="text_completion",
        model="gpt-3.5-turbo-instruct",
        host="api.openai.com",
        input_bytes=len('"Once"'),
        max_output_tokens=16,
        is_stream=True,
    )


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({}, 16), ({"max_tokens": omit}, 16), ({"max_tokens": NOT_GIVEN}, 16),
        ({"max_tokens": 100}, 100), ({"max_tokens": 0}, 0), ({"max_tokens": None}, None),
        ({"max_tokens": -1}, None), ({"max_tokens": "9"}, None), ({"max_tokens": 9.5}, None),
    ],
)  # fmt: skip
def test_the_output_limit_is_openais_own_if_none_is_given(
    body: dict[str, object], limit: int | None
) -> None:
    assert read(**body).max_output_tokens == limit


@pytest.mark.parametrize("host", ["llm.example", "azure"])
def test_other_servers_have_no_limit_of_their_own(host: str) -> None:
    request = SHAPE.request({"prompt": "Once"}, route(host), is_stream=False)
    assert request.max_output_tokens is None


@pytest.mark.parametrize(
    ("body", "choices"),
    [
        ({}, 1), ({"n": 3}, 3), ({"best_of": 5}, 5), ({"n": 2, "best_of": 5}, 5),
        ({"n": 5, "best_of": 2}, 5), ({"prompt": ["a", "b"]}, 2),
        ({"prompt": ["a", "b"], "n": 3}, 6), ({"prompt": [[1, 2], [3], [4]], "best_of": 2}, 6),
        ({"prompt": [1, 2, 3], "n": 2}, 2), ({"prompt": []}, 1), ({"prompt": None}, 1),
        ({"prompt": "", "n": None}, 1), ({"n": omit, "best_of": NOT_GIVEN}, 1), ({"n": 0}, 1),
        ({"prompt": ("a", [1])}, 2), ({"n": "4"}, 4), ({"n": 2.5}, 3),
    ],
)  # fmt: skip
def test_every_candidate_of_every_prompt_is_billed(body: dict[str, object], choices: int) -> None:
    assert read(**body).choices == choices


@pytest.mark.parametrize(
    ("body", "input_bytes", "unbounded"),
    [
        ({"prompt": [1000, 2000]}, 2, ()),
        ({"prompt": [[1000, 2000], [3]]}, 3, ()),
        ({"prompt": "é"}, 4, ()),
        ({"suffix": "x" * 100}, 108, ()),
        ({"prompt": object()}, 0, ("opaque_prompt",)),
        ({"suffix": object()}, 6, ("opaque_suffix",)),
        ({"prompt": "A" * 9000}, 9002, ()),
    ],
)
def test_what_becomes_input_is_counted(
    body: dict[str, object], input_bytes: int, unbounded: tuple[str, ...]
) -> None:
    request = read(**body)
    assert (request.input_bytes, request.unbounded) == (input_bytes, unbounded)


# --- what is answered ---


def test_the_answer_says_what_was_used() -> None:
    reading = SHAPE.answer(View(ANSWER))
    assert reading == Reading(
        Usage(input_uncached=5, output=7),
        Response(id="cmpl-1", model=MODEL, finish_reasons=("length", "stop")),
    )
    assert SHAPE.answer(construct_type(type_=Completion, value=ANSWER)) == reading


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        pytest.param(
            {"prompt_tokens": 5, "total_tokens": 5}, Usage(input_uncached=5), id="only scored"
        ),
        ({"prompt_tokens": 5}, Usage(status="unknown", flags=("malformed_usage",))),
        (
            {"prompt_tokens": 5, "total_tokens": 9},
            Usage(status="unknown", flags=("malformed_usage",)),
        ),
        (None, Usage(status="unknown")),
    ],
)
def test_usage_in_every_form(told: object, usage: Usage) -> None:
    assert SHAPE.answer(View({**ANSWER, "usage": told})).usage == usage


@pytest.mark.parametrize("answer", [object(), None, View({})])
def test_an_answer_that_says_nothing_is_unknown(answer: object) -> None:
    assert SHAPE.answer(answer) == Reading(Usage(status="unknown"), Response())


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(-5, 10**12))
def test_buckets_add_up_to_the_totals(into: int, out: int, cached: int) -> None:
    told = {
        "prompt_tokens": into,
        "completion_tokens": out,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    usage = SHAPE.answer(View({"usage": told})).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (into, out)


# --- streams ---


def watched(
    chunks: list[object], *, hides_usage: bool = False, **body: Any
) -> tuple[StreamReader, list[object]]:
    """Return a reader that saw chunks, and the chunks that it hides."""
    reader: StreamReader = SHAPE.reader(read(n=2, **body), hides_usage=hides_usage)
    hidden: list[object] = []
    for chunk in chunks:
        reader.kept.append(chunk)
        is_due = len(reader.kept) >= reader.look_at
        if (getattr(chunk, reader.sign, None) is not None or is_due) and reader.look(chunk):
            hidden.append(chunk)
    return reader, hidden


def views(chunks: list[dict[str, Any]]) -> list[object]:
    """Return chunks as they are read from the wire."""
    return [View(one) for one in chunks]


def seen(chunks: list[dict[str, Any]], **body: Any) -> Reading:
    """Read chunks; the SDK's objects and their JSON say the same."""
    reading = watched(views(chunks), **body)[0].read()
    objects: list[object] = [construct_type(type_=Completion, value=one) for one in chunks]
    assert watched(objects, **body)[0].read() == reading
    return reading


def test_a_whole_stream_is_billed_as_reported() -> None:
    assert seen(STREAM) == Reading(
        Usage(input_uncached=5, output=7),
        Response(id="cmpl-1", model=MODEL, finish_reasons=("length", "stop")),
    )


@pytest.mark.parametrize("hides_usage", [True, False])
def test_only_the_chunk_that_the_caller_did_not_ask_for_is_hidden(hides_usage: bool) -> None:
    chunks = views(STREAM)
    reader, hidden = watched(chunks, hides_usage=hides_usage)
    assert reader.is_whole()
    assert hidden == (chunks[-1:] if hides_usage else [])
    reader, hidden = watched(chunks[:-1], hides_usage=hides_usage)
    assert not reader.is_whole()
    assert hidden == []


def test_a_stream_that_is_cut_after_any_chunk_is_estimated_from_what_came() -> None:
    for end in range(1, len(STREAM)):
        reading = seen(STREAM[:end])
        texts = ["", ""]
        for chunk in STREAM[:end]:
            texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert reading.usage == Usage(
            status="estimated",
            input_uncached=estimate_input_tokens(len('"Once"'), model=MODEL),
            output=estimate_tokens(texts, model=MODEL),
        )
        assert not reading.is_incomplete
    assert seen(STREAM[:2], prompt=object()).is_incomplete


def test_nothing_is_known_of_a_stream_before_its_first_chunk() -> None:
    assert seen([]) == Reading(Usage(status="unknown"), Response())


def test_usage_on_the_way_is_not_the_last_word() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    reading = seen([{**STREAM[0], "usage": usage}, STREAM[1]])
    assert reading.usage == Usage(status="estimated", input_uncached=5, output=1)
    assert reading.is_incomplete
    whole = seen([{**one, "usage": usage} for one in STREAM[:-1]])
    assert whole.usage == Usage(input_uncached=5, output=1)
    assert not whole.is_incomplete


def test_a_long_stream_keeps_no_chunks() -> None:
    reader, _ = watched(views([STREAM[0]] * 1000))
    assert len(reader.kept) < 256
    usage = reader.read().usage
    assert usage is not None
    assert usage.output == estimate_tokens([" upon" * 1000], model=MODEL)


@pytest.mark.parametrize("chunk", [object(), None, View({}), View({"choices": [7]})])
def test_a_chunk_that_makes_no_sense_changes_nothing(chunk: object) -> None:
    usage = watched([chunk])[0].read().usage
    assert usage is not None
    assert usage.output_tokens == 0
