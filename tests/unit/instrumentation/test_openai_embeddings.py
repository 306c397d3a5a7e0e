"""What is read from a request for embeddings, and from its answer."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN, omit
from openai._models import construct_type
from openai.types import CreateEmbeddingResponse

from tests.unit.instrumentation.odd_values import TEXTS
from tollspan.instrumentation._hosts import HostTable, Route
from tollspan.instrumentation._shapes import Reading, Shape, View
from tollspan.instrumentation.openai._embeddings import EmbeddingsShape
from tollspan.instrumentation.openai._usage import read_input_usage
from tollspan.usage import Request, Response, Usage

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai" / "embeddings.json"
ANSWER: dict[str, Any] = json.loads(FIXTURE.read_text("utf-8"))["answer"]
SHAPE = EmbeddingsShape()
URL = cast("Any", SimpleNamespace(host="api.openai.com", port=None))
ROUTE: Route = HostTable("openai", {"api.openai.com": "openai"}).route(URL)


def read(given: object, **body: object) -> Request:
    """Read a request for embeddings of a value."""
    asked = {"model": "text-embedding-3-small", "input": given, **body}
    return SHAPE.request(asked, ROUTE, is_stream=False)


def test_it_is_a_shape_that_costs_money() -> None:
    shape: Shape = SHAPE
    assert shape is SHAPE
    assert not SHAPE.is_free


def test_a_request_has_no_output() -> None:
    assert read("Hello", dimensions=256, encoding_format="base64", user="u" * 99) == Request(
        provider="openai",
        operation="embeddings",
        model="text-embedding-3-small",
        host="api.openai.com",
        input_bytes=len('"Hello"'),
        max_output_tokens=0,
    )


@pytest.mark.parametrize(
    ("given", "input_bytes"),
    [
        pytest.param([1, 22, 333333], 3, id="tokens"),
        pytest.param((1, 2), 2, id="tuple of tokens"),
        pytest.param(range(1000, 2000), 1000, id="range"),
        pytest.param([[100000] * 5, [7]], 6, id="arrays of tokens"),
        pytest.param([[], [1]], 1, id="an empty array"),
        pytest.param(["ab", "c"], len('["ab","c"]'), id="texts"),
        pytest.param(deque(["ab", "c"]), len('["ab","c"]'), id="deque of texts"),
        pytest.param(["A" * 9000], 9004, id="a text that looks like data"),
        pytest.param(["ab", [1, 2]], len('"ab"') + 2, id="texts and tokens"),
        pytest.param("é", 4, id="bytes, not characters"),
        pytest.param([], 0, id="nothing"),
        pytest.param(None, 0, id="None"),
        pytest.param(omit, 0, id="omit"),
        pytest.param(NOT_GIVEN, 0, id="not given"),
        pytest.param([True, 1], len("true") + 1, id="a truth is no token"),
    ],
)
def test_a_token_counts_one_and_a_text_its_bytes(given: object, input_bytes: int) -> None:
    request = read(given)
    assert (request.input_bytes, request.unbounded) == (input_bytes, ())


def test_images_have_no_bound_in_bytes() -> None:
    request = read(["a text " * 20, {"image": "A" * 9000}])
    assert request.unbounded == ("media",)
    assert 140 <= request.input_bytes < 1000
    assert read({"image": "https://example.com"}).unbounded == ("media",)


def test_what_can_not_be_read_has_no_bound() -> None:
    def generate() -> Iterator[str]:
        yield "Hello"

    texts = generate()
    assert read(texts).unbounded == ("opaque_input",)
    assert list(texts) == ["Hello"]
    assert read(["\ud800"]).unbounded == ("opaque_input",)
    assert read("Hello", made_up=object()).unbounded == ("opaque_made_up",)


def test_what_a_provider_adds_counts_by_its_bytes() -> None:
    assert read("Hello", instruction="x" * 500).input_bytes >= 500


TOKENS = st.lists(st.integers(0, 200_000), max_size=20)


@given(st.lists(TEXTS | TOKENS, max_size=8))
def test_the_bytes_are_never_fewer_than_the_tokens(items: list[Any]) -> None:
    least = sum(len(one.encode()) if isinstance(one, str) else len(one) for one in items)
    request = read(items)
    assert request.input_bytes >= least
    assert request.unbounded == ()


# --- what is answered ---


def test_the_answer_says_what_was_read() -> None:
    reading = SHAPE.answer(View(ANSWER))
    assert reading == Reading(Usage(input_uncached=8), Response(model="text-embedding-3-small"))
    assert SHAPE.answer(construct_type(type_=CreateEmbeddingResponse, value=ANSWER)) == reading


def test_the_tier_is_read_where_the_answer_has_one() -> None:
    answer = construct_type(type_=CreateEmbeddingResponse, value={**ANSWER, "service_tier": "flex"})
    assert SHAPE.answer(answer).response.service_tier == "flex"


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 0, "total_tokens": 0}, Usage()),
        ({"total_tokens": 9}, Usage(input_uncached=9)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"image_tokens": 5}},
            Usage(input_uncached=4, image_in=5),
        ),
        ({}, Usage(status="unknown", flags=("malformed_usage",))),
        ({"prompt_tokens": -1}, Usage(status="unknown", flags=("malformed_usage",))),
        (None, Usage(status="unknown")),
    ],
)
def test_usage_in_every_form(told: object, usage: Usage) -> None:
    assert SHAPE.answer(View({**ANSWER, "usage": told})).usage == usage


@pytest.mark.parametrize("answer", [object(), None, View({})])
def test_an_answer_that_says_nothing_is_unknown(answer: object) -> None:
    assert SHAPE.answer(answer) == Reading(Usage(status="unknown"), Response())


@given(st.integers(0, 10**12), st.integers(-5, 10**12))
def test_buckets_add_up_to_the_total(total: int, image: int) -> None:
    details = {"image_tokens": image, "cached_tokens": image}
    usage = read_input_usage({"prompt_tokens": total, "prompt_tokens_details": details})
    assert (usage.input_tokens, usage.output_tokens) == (total, 0)


def test_a_stream_that_should_not_be_one_is_unknown() -> None:
    reader = SHAPE.reader(read("Hello"), hides_usage=True)
    assert reader.first_chunk_at_ns is None
    for _ in range(600):
        reader.kept.append(object())
        if len(reader.kept) >= reader.look_at:
            assert not reader.look(reader.kept[-1])
    assert len(reader.kept) < 256
    assert reader.first_chunk_at_ns is not None
    assert not reader.is_whole()
    assert reader.read() == Reading(Usage(status="unknown"), Response())
