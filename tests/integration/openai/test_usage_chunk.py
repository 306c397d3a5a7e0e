"""A stream is asked for its usage, and whoever did not ask for it does not see it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, Omit, omit
from openai._types import NOT_GIVEN

from tests.fakes import Reply
from tests.fakes.calls import MODEL, PROMPT, stream
from tests.integration.openai.stage import Stage, ask_stream

MESSAGES = [{"role": "user", "content": PROMPT}]


@pytest.mark.parametrize(
    ("options", "sent", "is_seen"),
    [
        pytest.param({}, {"include_usage": True}, False, id="nothing said"),
        pytest.param({"stream_options": None}, {"include_usage": True}, False, id="None"),
        pytest.param({"stream_options": NOT_GIVEN}, {"include_usage": True}, False, id="not given"),
        pytest.param({"stream_options": omit}, {"include_usage": True}, False, id="omit"),
        pytest.param({"stream_options": Omit()}, {"include_usage": True}, False, id="an Omit"),
        pytest.param({"stream_options": {}}, {"include_usage": True}, False, id="empty"),
        pytest.param(
            {"stream_options": {"include_usage": False}}, {"include_usage": True}, False, id="no"
        ),
        pytest.param(
            {"stream_options": {"include_usage": True}}, {"include_usage": True}, True, id="yes"
        ),
        pytest.param(
            {"stream_options": {"include_obfuscation": False}},
            {"include_obfuscation": False, "include_usage": True},
            False,
            id="another option is kept",
        ),
        pytest.param(
            {"extra_body": {"stream_options": {"include_obfuscation": False}}},
            {"include_obfuscation": False, "include_usage": True},
            False,
            id="another option in extra_body is kept",
        ),
        pytest.param(
            {"extra_body": {"stream_options": {"include_usage": True}}},
            {"include_usage": True},
            True,
            id="yes in extra_body",
        ),
        pytest.param(
            {
                "stream_options": {"include_usage": True},
                "extra_body": {"stream_options": {"include_usage": False}},
            },
            {"include_usage": True},
            False,
            id="extra_body has the last word",
        ),
        pytest.param(
            {"stream_options": {"include_usage": True}, "extra_body": {"stream_options": None}},
            {"include_usage": True},
            False,
            id="None in extra_body too",
        ),
        pytest.param(
            {"extra_body": {"top_k": 5}}, {"include_usage": True}, False, id="extra_body is kept"
        ),
    ],
)
def test_usage_is_asked_for_and_hidden_unless_the_caller_asked(
    stage: Stage, options: dict[str, Any], sent: dict[str, object], is_seen: bool
) -> None:
    before = {name: copy.copy(value) for name, value in options.items()}
    chunks = list(stream(stage.client(), **options))
    (request,) = stage.fake.requests
    assert isinstance(request.json, dict)
    assert request.json["stream_options"] == sent
    for name, value in before.get("extra_body", {}).items():
        assert name == "stream_options" or request.json[name] == value
    assert any(chunk.usage is not None for chunk in chunks) == is_seen
    assert any(not chunk.choices for chunk in chunks) == is_seen
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd
    for name, value in before.items():
        if isinstance(value, dict):
            assert options[name] == value


def test_an_asynchronous_stream_hides_it_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> tuple[int, int]:
        hidden = [chunk async for chunk in await ask_stream(client)]
        asked = await ask_stream(client, stream_options={"include_usage": True})
        return len(hidden), len([chunk async for chunk in asked])

    hidden, shown = stage.run(work)
    assert shown == hidden + 1
    assert [event.cost.amount_nanousd for event in stage.events()] == [6300, 6300]


def test_next_hides_it_too(stage: Stage) -> None:
    made = stream(stage.client())
    seen = []
    while (chunk := next(made, None)) is not None:
        seen.append(chunk)
    assert all(chunk.choices for chunk in seen)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_a_call_that_is_not_streamed_is_sent_as_it_is(stage: Stage) -> None:
    create: Any = stage.client().chat.completions.create
    create(model=MODEL, messages=MESSAGES, extra_body={"top_k": 5})
    create(model=MODEL, messages=MESSAGES, stream=False, stream_options=None)
    assert [request.json for request in stage.fake.requests] == [
        {"model": MODEL, "messages": MESSAGES, "top_k": 5},
        {"model": MODEL, "messages": MESSAGES, "stream": False, "stream_options": None},
    ]


def test_a_provider_without_usage_is_estimated_from_the_whole_stream(stage: Stage) -> None:
    stage.fake.script.default = Reply(omit_usage=True, output_tokens=400)
    chunks = list(stream(stage.client()))
    assert all(chunk.choices for chunk in chunks)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.usage.output == pytest.approx(400, rel=0.1)


def an_older_server(request: object, headers: object, hit: int) -> Reply:
    """Refuse `stream_options`, as servers do that do not know it."""
    if "stream_options" in str(request):
        return Reply(status=400, error_message="Unrecognized request argument: stream_options")
    return Reply(output_tokens=20)


def test_a_server_that_refuses_our_request_for_usage_is_asked_without_it(stage: Stage) -> None:
    stage.fake.script.respond = an_older_server
    client = stage.client()
    assert all(chunk.choices for chunk in stream(client))
    assert all(chunk.choices for chunk in stream(client))
    sent = ["stream_options" in str(request.json) for request in stage.fake.requests]
    assert sent == [True, False, False], "it is told once, and remembered"
    first, second = stage.events()
    assert (first.outcome.status, first.outcome.attempts) == ("ok", 2)
    assert (second.outcome.status, second.outcome.attempts) == ("ok", 1)
    assert first.usage is not None
    assert first.usage.status == "estimated"


def test_the_same_in_a_task(stage: Stage) -> None:
    stage.fake.script.respond = an_older_server

    async def work(client: AsyncOpenAI) -> int:
        return len([chunk async for chunk in await ask_stream(client)])

    assert stage.run(work) > 0
    (event,) = stage.events()
    assert (event.outcome.status, event.outcome.attempts) == ("ok", 2)


def test_a_refusal_of_what_the_caller_asked_is_the_callers(stage: Stage) -> None:
    stage.fake.script.respond = an_older_server
    with pytest.raises(BadRequestError, match="stream_options"):
        stream(stage.client(), stream_options={"include_usage": True})
    assert stage.fake.hits == 1
