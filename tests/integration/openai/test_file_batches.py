"""Batches that are files: bounded by the lines of one, settled by the lines of another."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.wire import refusing_base_url
from tests.integration.openai.stage import Stage
from tollspan.usage import BudgetExceededError, CallDeniedError

MINI, LARGE, VECTORS = "gpt-4o-mini", "gpt-4o", "text-embedding-3-small"
BUDGETS = (
    "{id: all, limit: 1 USD}, {id: count, limit: 100 calls},"
    " {id: large, where: {model: gpt-4o}, limit: 1 USD}"
)
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything that a test needs, with three budgets."""
    home = tmp_path / "home"
    with FakeOpenAI() as fake, harness.installed(home, budgets=BUDGETS) as installed:
        made = Stage(fake=fake, home=home, installed=installed)
        try:
            yield made
        finally:
            made.close()


def asked(name: str, model: str = MINI, text: str = "Hello?", max_tokens: int = 50) -> Any:
    """Make one request of a batch."""
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "max_tokens": max_tokens, "messages": messages}
    return {"custom_id": name, "method": "POST", "url": URL, "body": body}


def file_of(requests: list[Any]) -> bytes:
    """Write the lines of a file of requests."""
    return "".join(json.dumps(one) + "\n" for one in requests).encode()


def upload(client: OpenAI, requests: list[Any]) -> str:
    """Upload a file of requests."""
    return client.files.create(file=("in.jsonl", file_of(requests)), purpose="batch").id


def begin(client: OpenAI, file_id: str, endpoint: Any = URL, **more: Any) -> str:
    """Begin a batch of a file."""
    made: Any = client.batches.create(
        input_file_id=file_id, endpoint=endpoint, completion_window="24h", **more
    )
    return str(made.id)


def ended(client: OpenAI, batch_id: str) -> Any:
    """Look at a batch until it has ended."""
    client.batches.retrieve(batch_id)
    return client.batches.retrieve(batch_id)


def outputs(client: OpenAI, batch_id: str) -> list[Any]:
    """Look until a batch has ended, and read what its requests were answered."""
    content = client.files.content(ended(client, batch_id).output_file_id)
    return [json.loads(line) for line in content.text.splitlines()]


def counts(stage: Stage, budget_id: str = "all") -> tuple[int, int, int]:
    """Return what a budget has posted, held and unresolved."""
    stage.settle()
    found = harness.balance(stage.home, budget_id)
    return found.posted, found.held, found.unresolved


def test_a_batch_is_held_until_its_output_is_read_and_costs_what_that_says(stage: Stage) -> None:
    client = stage.client()
    requests = [asked(f"r{number}", text="hi " * number) for number in range(1, 6)]
    batch = begin(client, upload(client, requests))
    assert stage.events() == []
    posted, held, unresolved = counts(stage)
    assert (posted, unresolved) == (0, 0)
    assert held > 5 * 50 * 300  # tokens of output, at half of the price
    assert counts(stage, "count") == (0, 5, 0)
    shown = ended(client, batch)
    assert shown.status == "completed"
    assert stage.events() == []
    lines = client.files.content(shown.output_file_id).text.splitlines()
    assert len(lines) == 5
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert event.cost.status == "priced"
    assert event.call.request.calls == 5
    assert event.outcome.response.id == batch
    assert event.marks == ("deferred",)
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)
    assert counts(stage, "count") == (5, 0, 0)


def test_a_batch_holds_the_sum_of_what_its_requests_would(stage: Stage) -> None:
    client = stage.client()
    for number in range(1, 4):
        begin(client, upload(client, [asked("a", text="hi " * number)]))
    alone = counts(stage)[1]
    begin(client, upload(client, [asked(f"r{n}", text="hi " * n) for n in range(1, 4)]))
    assert counts(stage)[1] == 2 * alone


def test_an_output_that_is_read_again_changes_nothing(stage: Stage) -> None:
    client = stage.client()
    batch = begin(client, upload(client, [asked("a")]))
    for _ in range(3):
        outputs(client, batch)
    assert len(stage.events()) == 1
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


@pytest.mark.parametrize("ending", ["errored-1", "expired-1", "cancelled-1"])
def test_what_was_answered_is_billed_whatever_became_of_the_rest(stage: Stage, ending: str) -> None:
    client = stage.client()
    batch = begin(client, upload(client, [asked("ok"), asked(ending)]))
    outputs(client, batch)
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


@pytest.mark.parametrize("sees", ["retrieve", "cancel", "list"])
@pytest.mark.parametrize("ending", ["errored-1", "expired-1", "cancelled-1"])
def test_a_batch_without_any_answer_costs_nothing(stage: Stage, ending: str, sees: str) -> None:
    client = stage.client()
    batch = begin(client, upload(client, [asked(ending)]))
    client.batches.retrieve(batch)
    assert stage.events() == []
    if sees == "list":
        client.batches.list()
    else:
        getattr(client.batches, sees)(batch)
    (event,) = stage.events()
    assert event.cost.status == "not_billed"
    assert counts(stage) == (0, 0, 0)


def test_a_batch_whose_file_is_no_good_costs_nothing(stage: Stage) -> None:
    client = stage.client()
    batch = begin(client, upload(client, [asked("a"), asked("a")]))
    assert counts(stage)[1] > 0
    assert ended(client, batch).status == "failed"
    (event,) = stage.events()
    assert event.outcome.status == "error"
    assert event.outcome.error_type == "duplicate_custom_id"
    assert counts(stage) == (0, 0, 0)


def test_requests_of_several_models_are_calls_of_their_own(stage: Stage) -> None:
    client = stage.client()
    requests = [asked("m1"), asked("l1", LARGE), asked("m2"), asked("l2", LARGE)]
    batch = begin(client, upload(client, requests))
    assert counts(stage, "count") == (0, 4, 0)
    assert 0 < counts(stage, "large")[1] < counts(stage)[1]
    outputs(client, batch)
    events = stage.events()
    assert {event.call.request.model for event in events} == {MINI, LARGE}
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)
    (large,) = [one for one in events if one.call.request.model == LARGE]
    assert counts(stage, "large") == (large.cost.amount_nanousd, 0, 0)


def test_a_batch_that_does_not_fit_is_refused_whole(stage: Stage) -> None:
    client = stage.client()
    dear = [asked(f"l{n}", LARGE, max_tokens=50_000) for n in range(10)]
    file_id = upload(client, [asked("a"), *dear])
    with pytest.raises(BudgetExceededError):
        begin(client, file_id)
    many = upload(client, [asked(f"h{n}", max_tokens=1) for n in range(101)])
    with pytest.raises(BudgetExceededError):
        begin(client, many)
    assert stage.fake.hits == 0
    assert counts(stage) == (0, 0, 0)


def test_a_batch_that_the_provider_refuses_costs_nothing(stage: Stage) -> None:
    client = stage.client()
    file_id = upload(client, [asked("a")])
    with pytest.raises(openai.BadRequestError):
        begin(client, file_id, endpoint="/v1/nothing")
    assert counts(stage) == (0, 0, 0)


def test_a_file_that_nobody_here_knows_is_bounded_by_the_largest_there_is(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    client = stage.client()
    stranger = stage.fake.batches.store(file_of([asked("a")]))
    with pytest.raises(BudgetExceededError) as refused:
        begin(client, stranger)
    assert (refused.value.asked or 0) > 50_000 * 10**9  # a dollar for each of as many
    assert f"has uploaded or read the file {stranger}" in caplog.text
    assert stage.fake.hits == 0
    client.files.content(stranger)  # whoever reads it here makes it known
    batch = begin(client, stranger)
    assert counts(stage, "count") == (0, 1, 0)
    outputs(client, batch)
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


def test_a_file_that_nobody_knows_is_settled_by_its_output_where_it_was_let_through(
    stage: Stage,
) -> None:
    client = stage.client()
    budgets = "{id: all, limit: 1 USD, on_exceed: warn}"
    harness.write_rules(stage.home, budgets=budgets)
    stage.installed.watcher.look()
    batch = begin(client, stage.fake.batches.store(file_of([asked("a"), asked("b", LARGE)])))
    outputs(client, batch)
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert event.call.request.calls == 2


@pytest.mark.parametrize(("limit", "fits"), [(49_999, False), (50_000, True)])
def test_a_file_that_nobody_knows_may_have_as_many_requests_as_a_file_can(
    stage: Stage, limit: int, fits: bool
) -> None:
    client = stage.client()
    harness.write_rules(stage.home, budgets=f"{{id: count, limit: {limit} calls}}")
    stage.installed.watcher.look()
    stranger = stage.fake.batches.store(file_of([asked("a"), asked("b")]))
    if not fits:
        with pytest.raises(BudgetExceededError):
            begin(client, stranger)
        return
    batch = begin(client, stranger)
    assert counts(stage, "count") == (0, 50_000, 0)
    outputs(client, batch)
    assert counts(stage, "count") == (2, 0, 0)


def test_a_file_that_was_not_sent_is_left_as_it_was(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(file_of([asked("a")]))
    with refusing_base_url() as nowhere, path.open("rb") as file:
        file.read(7)
        with pytest.raises(openai.APIConnectionError):
            stage.client(base_url=nowhere).files.create(file=file, purpose="batch")
        assert file.tell() == 7


def test_what_is_not_asked_of_a_model_that_costs_something_is_not_gated(stage: Stage) -> None:
    client = stage.client()
    body = {"model": "omni-moderation-latest", "input": "a kind word"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/moderations", "body": body}
    batch = begin(client, upload(client, [line]), endpoint="/v1/moderations")
    outputs(client, batch)
    assert stage.events() == []


def test_embeddings_and_responses_are_settled_too(stage: Stage) -> None:
    client = stage.client()
    vectors = {"model": VECTORS, "input": ["some words", "others"]}
    answer = {"model": MINI, "input": "some words", "max_output_tokens": 30}
    for url, body in (("/v1/embeddings", vectors), ("/v1/responses", answer)):
        line = {"custom_id": "a", "method": "POST", "url": url, "body": body}
        outputs(client, begin(client, upload(client, [line]), endpoint=url))
    assert len(stage.events()) == 2
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


Given = Callable[[BinaryIO], Any]
GIVEN: dict[str, Given] = {
    "an open file": lambda file: file,
    "one that was read in part": lambda file: (file.read(7), file)[1],
    "with its name": lambda file: ("in.jsonl", file, "application/jsonl"),
    "in memory": lambda file: io.BytesIO(file.read()),
    "bytes": lambda file: file.read(),
    "a path": lambda file: Path(file.name),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=list(GIVEN))
def test_a_file_is_read_however_it_is_given(stage: Stage, tmp_path: Path, given: Given) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(file_of([asked("a"), asked("b")]))
    client = stage.client()
    with path.open("rb") as file:
        file_id = client.files.create(file=given(file), purpose="batch").id
    begin(client, file_id)
    assert counts(stage, "count") == (0, 2, 0)
    assert client.files.content(file_id).content == path.read_bytes()


def test_an_event_loop_begins_and_settles_batches_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        content = file_of([asked("a"), asked("b", LARGE)])
        file = await client.files.create(file=io.BytesIO(content), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=URL, completion_window="24h"
        )
        while (shown := await client.batches.retrieve(batch.id)).output_file_id is None:
            pass
        await client.files.content(shown.output_file_id)

    stage.run(work)
    assert len(stage.events()) == 2
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


def test_raw_responses_tell_of_batches_too(stage: Stage) -> None:
    client = stage.client()
    content = file_of([asked("a")])
    file = client.files.with_raw_response.create(file=content, purpose="batch").parse()
    batch = client.batches.with_raw_response.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h"
    ).parse()
    assert counts(stage, "count") == (0, 1, 0)
    client.batches.with_raw_response.retrieve(batch.id)
    shown = client.batches.with_raw_response.retrieve(batch.id).parse()
    client.files.with_raw_response.content(shown.output_file_id or "")
    assert len(stage.events()) == 1
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


def test_large_batches_are_priced_to_the_nano_dollar(stage: Stage) -> None:
    client = stage.client()
    requests = [asked(f"r{n}", text="word " * (n % 97), max_tokens=3) for n in range(90)]
    outputs(client, begin(client, upload(client, requests)))
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd
    assert event.usage is not None
    assert len(event.usage.iterations) <= 16


def test_who_pays_is_said_when_the_batch_is_begun(stage: Stage) -> None:
    client = stage.client()
    batch = begin(
        client, upload(client, [asked("a")]), extra_body={"tollspan": {"customer": "acme"}}
    )
    outputs(client, batch)
    assert [event.call.attribution.customer for event in stage.events()] == ["acme"]
    assert all("tollspan" not in str(one.json) for one in stage.fake.requests)


def test_part_of_an_output_settles_nothing(stage: Stage) -> None:
    client = stage.client()
    batch = begin(client, upload(client, [asked("a"), asked("b")]))
    output = ended(client, batch).output_file_id
    stage.fake.batches.cut(output)
    client.files.content(output)
    assert stage.events() == []
    assert counts(stage)[1] > 0


def test_other_files_are_nobody_s_business(stage: Stage) -> None:
    client = stage.client()
    file = client.files.create(file=file_of([asked("a")]), purpose="user_data")
    client.files.content(client.files.create(file=b"\x00\xff\n", purpose="user_data").id)
    with pytest.raises(CallDeniedError):
        begin(client, file.id)


def test_an_output_that_is_read_piece_by_piece_settles_at_its_end(stage: Stage) -> None:
    client = stage.client()
    requests = [asked(f"r{n}", text="hi " * n) for n in range(40)]
    output = ended(client, begin(client, upload(client, requests))).output_file_id
    reading = client.files.with_streaming_response.content(output)
    with reading as response:
        next(response.iter_bytes(100))
    assert stage.events() == []
    with client.files.with_streaming_response.content(output) as response:
        pieces = list(response.iter_bytes(100))
    assert len(pieces) > 3
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)


def test_an_event_loop_reads_an_output_piece_by_piece_too(stage: Stage, tmp_path: Path) -> None:
    client = stage.client()
    output = ended(client, begin(client, upload(client, [asked("a"), asked("b")]))).output_file_id
    target = tmp_path / "out.jsonl"

    async def work(client: AsyncOpenAI) -> None:
        async with client.files.with_streaming_response.content(output) as response:
            await response.stream_to_file(target)

    stage.run(work)
    assert len(target.read_bytes().splitlines()) == 2
    assert len(stage.events()) == 1
    assert counts(stage) == (stage.fake.billed_nanousd, 0, 0)
    assert stage.open_streams == 0


def test_a_batch_at_azure_is_azure_s(stage: Stage) -> None:
    harness.write_rules(stage.home, hosts={"127.0.0.1": "azure.ai.openai"})
    stage.installed.watcher.look()
    with AzureOpenAI(
        azure_endpoint=stage.fake.root_url, api_key="key", api_version="2026-01-01", max_retries=0
    ) as client:
        batch = begin(client, upload(client, [asked("a")]))
        assert stage.events() == []
        outputs(client, batch)
    (event,) = stage.events()
    assert event.call.request.provider == "azure.ai.openai"
    assert counts(stage) == (event.cost.amount_nanousd, 0, 0)
