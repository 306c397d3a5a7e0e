"""Lines of batches' files: what they ask, what they answer, and what is remembered of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.instrumentation._batch_files import (
    MOST_LINES,
    OutputNote,
    lines_of_note,
    note_of_lines,
    note_of_output,
    output_of_note,
)
from tollspan.instrumentation._batch_shapes import Line, groups_of
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation.openai._chat import ChatShape
from tollspan.instrumentation.openai._file_batches import (
    Results,
    is_request,
    read_line,
    shown,
)
from tollspan.usage import Request

ROUTE = Route(
    SimpleNamespace(host="api.openai.com", port=None),
    "openai",
    "api.openai.com",
    None,
    is_assumed=False,
)
BODY: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "a secret of mine"}],
}


def line(url: str = "/v1/chat/completions", body: Any = BODY, **more: Any) -> bytes:
    """Write a line of a file of requests."""
    return json.dumps(
        {"custom_id": "a", "method": "POST", "url": url, "body": body, **more}
    ).encode()


def noted(*lines: bytes) -> bytes | None:
    """Note a file of these lines."""
    return note_of_lines(lines, lambda one: read_line(one, ROUTE))


@pytest.mark.parametrize(
    "url", ["/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions"]
)
def test_a_line_is_read_as_its_endpoint_reads_a_request(url: str) -> None:
    found = read_line(line(url), ROUTE)
    assert found == Line("a", ChatShape().request(BODY, ROUTE, is_stream=False))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"custom_id": "a"}', id="no request"),
        pytest.param(line("/v1/images/generations"), id="an endpoint without a shape"),
        pytest.param(line(body="x"), id="a body that is none"),
        pytest.param(line(custom_id=7), id="a name that is none"),
    ],
)
def test_a_line_that_cannot_be_read_may_ask_for_anything(data: bytes) -> None:
    found = read_line(data, ROUTE)
    assert found is not None
    assert found.request.unbounded == ("batch_line",)
    assert found.request.max_output_tokens is None


def test_a_line_that_costs_nothing_is_left_out() -> None:
    assert read_line(line("/v1/moderations"), ROUTE) is None
    assert lines_of_note(noted(line("/v1/moderations"))) == []


def test_what_is_noted_of_a_file_says_what_it_asks_and_nothing_of_what_it_says() -> None:
    note = noted(line(), b"\n", line(custom_id="b"))
    assert note is not None
    assert [found.name for found in lines_of_note(note) or ()] == ["a", "b"]
    assert b"secret" not in note
    assert all("secret" not in str(found) for found in lines_of_note(note) or ())


def test_nothing_is_noted_of_a_file_without_requests_or_with_too_many() -> None:
    assert noted() is None
    assert noted(b"\n") is None
    assert note_of_lines([b"x"] * MOST_LINES, lambda _: None) is not None
    assert note_of_lines([b"x"] * (MOST_LINES + 1), lambda _: None) is None


@pytest.mark.parametrize("note", [None, b"", b"x\x9c", b"{}", b'{"batch_id": 1}', b"{"])
def test_a_note_that_is_none_says_nothing(note: bytes | None) -> None:
    assert lines_of_note(note) is None
    assert output_of_note(note) is None


def test_a_note_of_an_output_is_read_as_it_was_written() -> None:
    for note in (OutputNote("batch_1"), OutputNote("batch_1", 3, 5)):
        assert output_of_note(note_of_output(note)) == note
        assert lines_of_note(note_of_output(note)) is None
    assert output_of_note(noted(line())) is None


@given(
    st.lists(
        st.tuples(
            st.text(max_size=9),
            st.sampled_from(["m", "n"]),
            st.integers(0, 10**9),
            st.none() | st.integers(1, 10**6),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_a_file_is_remembered_whole(asked: list[tuple[str, str, int, int | None]]) -> None:
    lines = [
        Line(
            name,
            Request(
                provider="openai",
                operation="chat",
                model=model,
                input_bytes=size,
                max_output_tokens=most,
            ),
        )
        for name, model, size, most in asked
    ]
    found = iter(lines)
    note = note_of_lines([b"x"] * len(lines), lambda _: next(found))
    assert lines_of_note(note) == lines
    assert sum(group.request.calls for group in groups_of(lines)) == len(lines)


def answered(name: str, status: int = 200, body: Any = None) -> bytes:
    """Write a line of a file of results."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    said = {"object": "chat.completion", "id": "c", "model": "gpt-4o-mini", "usage": usage}
    response = {"status_code": status, "body": said if body is None else body}
    return json.dumps({"custom_id": name, "response": response, "error": None}).encode()


def reading(*lines: bytes, completed: int | None = None, names: tuple[str, ...] = ()) -> Any:
    """Read a file of results for a call that stands for some of its requests; None for no end."""
    results = Results(OutputNote("batch_1", completed, 9))
    for one in lines:
        results.feed(one)
    end = results.end()
    request = Request(provider="openai", operation="chat", model="gpt-4o-mini", calls=9)
    deferred: Any = SimpleNamespace(lines=names, call=SimpleNamespace(request=request))
    return None if end is None else end.read(deferred)


def test_results_add_up() -> None:
    found = reading(answered("a"), b"\n", answered("b"), completed=2)
    assert (found.usage.input_uncached, found.usage.output) == (6, 8)
    assert not found.is_incomplete
    assert found.response.service_tier == "batch"
    assert found.calls is None


def test_results_of_other_calls_of_the_batch_are_left_out() -> None:
    found = reading(answered("a"), answered("b"), names=("b",))
    assert (found.usage.input_uncached, found.usage.output) == (3, 4)


def test_an_answer_that_says_it_failed_costs_nothing() -> None:
    assert reading(answered("a", status=429)).usage is None


@pytest.mark.parametrize("body", [7, {"object": "a new thing"}, {"object": "chat.completion"}])
def test_an_answer_that_cannot_be_read_leaves_the_rest_open(body: Any) -> None:
    assert reading(answered("a"), answered("b", body=body)).is_incomplete


def test_lines_that_are_missing_or_broken_settle_nothing() -> None:
    assert reading() is None
    assert reading(answered("a"), completed=2) is None
    assert reading(answered("a"), b'{"custom_id":', completed=1) is None


def test_only_a_batch_that_has_ended_is_shown() -> None:
    batch = SimpleNamespace(id="batch_1", status="in_progress", output_file_id=None)
    assert list(shown(batch)) == []
    batch.status, batch.output_file_id = "completed", "file-1"
    (found,) = shown(SimpleNamespace(data=[batch]))
    assert found.output == ("file-1", OutputNote("batch_1"))
    assert found.end is None


def test_a_batch_that_says_it_answered_some_and_names_no_file_has_no_end_yet() -> None:
    counts = SimpleNamespace(completed=1, total=2)
    batch = SimpleNamespace(
        id="batch_1", status="expired", output_file_id=None, request_counts=counts
    )
    assert list(shown(batch)) == []


def test_a_file_of_requests_is_told_from_others_by_its_first_line() -> None:
    assert is_request(line())
    assert not is_request(answered("a"))
    assert not is_request(b"\x89PNG\n")
