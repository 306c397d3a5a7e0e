"""Whatever may cost money and passed no gate is counted, and shown by `tollspan doctor`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.calls import MODEL, PROMPT, chat, stream
from tests.integration.openai.stage import Stage
from tollspan.instrumentation.openai import OPENAI
from tollspan.instrumentation.openai._paths import billable_path
from tollspan.ledger import LEDGER_FILE, LedgerReader

BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}


class Answer(BaseModel):
    """A shape to parse an answer into."""

    text: str


def parse(client: OpenAI) -> None:
    client.chat.completions.parse(**BODY)


def fail_to_parse(client: OpenAI) -> None:
    with pytest.raises(ValueError, match="JSON"):
        client.chat.completions.parse(**BODY, response_format=Answer)


def parse_what_is_too_short(client: OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**BODY, response_format=Answer, max_tokens=3)


def post(client: OpenAI) -> None:
    client.post("/chat/completions", cast_to=ChatCompletion, body=BODY)


def post_to_an_address(client: OpenAI) -> None:
    client.post(f"{client.base_url}chat/completions?x=1", cast_to=ChatCompletion, body=BODY)


def post_for_json(client: OpenAI) -> None:
    client.post("chat/completions", cast_to=object, body=BODY)


@pytest.mark.parametrize(
    "call",
    [parse, fail_to_parse, parse_what_is_too_short, post, post_to_an_address, post_for_json],
)
def test_every_way_to_a_gated_path_is_gated(stage: Stage, call: Any) -> None:
    call(stage.client())
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd
    assert sightings(stage) == {}


def sightings(stage: Stage) -> dict[str, int]:
    """Return what was seen passing the gate, and how often."""
    stage.settle()
    stage.installed.ledger.close()  # what its writer was handed is written
    found = [
        one
        for one in LedgerReader(stage.home / LEDGER_FILE).sightings()
        if one.kind != "imported_before_install"
    ]
    assert {one.kind for one in found} <= {"past_the_gate"}
    return {one.name: one.count for one in found}


def speak(client: OpenAI) -> None:
    with contextlib.suppress(openai.NotFoundError):  # not served by the fake, but sent
        client.audio.speech.create(model="tts-1", voice="alloy", input="hi")


def draw(client: OpenAI) -> None:
    with contextlib.suppress(openai.NotFoundError):
        client.images.generate(prompt="a fox")


def invent(client: OpenAI) -> None:
    with contextlib.suppress(openai.NotFoundError):
        client.post("/dreams/dream_123456/run?x=1", cast_to=object, body={})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (speak, "openai POST /audio/speech"),
        (draw, "openai POST /images/generations"),
        (invent, "openai POST /dreams/{id}/run"),
    ],
)
def test_a_way_past_the_gate_is_counted_every_time(stage: Stage, call: Any, name: str) -> None:
    client = stage.client()
    for _ in range(3):
        call(client)
    assert stage.events() == []
    assert sightings(stage) == {name: 3}


def test_the_asynchronous_client_is_watched_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        with contextlib.suppress(openai.NotFoundError):
            await client.images.generate(prompt="a fox")
        with contextlib.suppress(openai.NotFoundError):
            await client.files.list()

    stage.run(work)
    assert sightings(stage) == {"openai POST /images/generations": 1}


def test_free_requests_and_calls_of_ours_are_not_counted(stage: Stage) -> None:
    client = stage.client()
    client.models.list()
    client.moderations.create(input="a kind word")
    for free in (
        lambda: client.files.create(file=b"{}", purpose="batch"),
        lambda: client.chat.completions.delete("chatcmpl-1"),
        lambda: client.responses.cancel("resp_1"),
    ):
        with contextlib.suppress(openai.NotFoundError):
            free()
    chat(client)
    list(stream(client))
    client.chat.completions.with_raw_response.create(**BODY)
    assert len(stage.events()) == 4  # the moderation too: free, and traced
    assert sightings(stage) == {}


def test_a_call_made_while_another_one_is_sent_is_gated_by_itself(stage: Stage) -> None:
    inner = stage.client()

    def guard(request: object) -> None:
        chat(inner, max_tokens=7)

    outer = stage.client()
    outer._client.event_hooks = {"request": [guard]}
    chat(outer, max_tokens=5)
    assert [event.call.request.max_output_tokens for event in stage.events()] == [7, 5]
    assert sightings(stage) == {}


def test_what_goes_over_a_websocket_is_said(stage: Stage) -> None:
    client = stage.client()
    client.realtime.connect(model="gpt-realtime")  # nothing is sent before its block is entered
    client.responses.connect()
    stage.settle()
    stage.installed.ledger.close()
    found = [
        one
        for one in LedgerReader(stage.home / LEDGER_FILE).sightings()
        if one.kind != "imported_before_install"
    ]
    assert {(one.kind, one.name) for one in found} == {
        ("not_metered", "openai Responses.connect"),
        ("not_metered", "openai Realtime.connect"),
    }


def test_every_socket_of_the_sdk_is_watched() -> None:
    """A new one fails this test until its module is named."""
    resources = Path(openai.__file__).parent / "resources"
    found = {
        ".".join(file.relative_to(resources.parents[1]).with_suffix("").parts)
        for file in resources.rglob("*.py")
        if re.search(r"    def connect\(", file.read_text("utf-8"))
    }
    assert found == set(OPENAI.sockets)


def test_the_doctor_shows_what_was_seen(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        FakeOpenAI() as fake,
        harness.installed(home),
        OpenAI(base_url=fake.base_url, api_key="key") as client,
    ):
        draw(client)
    command = [harness.program("")[0], "doctor"]
    done = harness.run(command, harness.environment(home, "http://127.0.0.1:9/v1"))
    assert "past the gate: openai POST /images/generations, 1 times" in done.stdout


def test_every_post_of_the_sdk_is_sorted_on_purpose() -> None:
    """A new product of the SDK is counted until somebody says that it is free."""
    posts = re.compile(r'\._post\(\s*(?:path_template\(\s*)?"(/[^"]+)"')
    files = (Path(openai.__file__).parent / "resources").rglob("*.py")
    paths = {path for file in files for path in posts.findall(file.read_text("utf-8"))}
    assert {"/chat/completions", "/batches/{batch_id}/cancel"} <= paths
    assert {path.split("/")[1] for path in paths if billable_path("post", path) is None} <= {
        "assistants", "batches", "chat", "conversations", "evals", "files", "fine_tuning",
        "moderations", "organization", "projects", "responses", "skills", "threads", "uploads",
        "vaults", "vector_stores", "webhook_endpoints",
    }  # fmt: skip
