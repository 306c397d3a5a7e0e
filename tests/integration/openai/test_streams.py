"""Synchronous streams of chat, beside the contract: chunks, iterators, threads, garbage."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from openai import Stream
from openai.types.chat import ChatCompletionChunk

from tests.fakes import Reply
from tests.fakes.calls import stream, text_of
from tests.integration.openai.stage import Stage
from tollspan.usage import UsageEvent

WORDS = ("one", " two", " three", " four", " five", " six")
Chunks = Stream[ChatCompletionChunk]


class UserError(Exception):
    """Raised by the program's own code."""


@pytest.fixture
def chunks(stage: Stage) -> Chunks:
    """A stream of eight chunks: the role, six words, the end."""
    stage.fake.script.default = Reply(chunks=WORDS)
    return stream(stage.client())


def assert_cut(event: UsageEvent) -> None:
    """Billed from what has arrived, as an estimate, and the rest of the hold given back."""
    assert event.outcome.status == "partial"
    assert event.outcome.error_type is None
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.usage.input_tokens > 0
    assert event.cost.status == "priced"
    assert event.charges[0].unresolved == 0


def take(chunks: Chunks, count: int) -> list[ChatCompletionChunk]:
    """Take some chunks of a stream, and leave it."""
    taken: list[ChatCompletionChunk] = []
    for chunk in chunks:
        taken.append(chunk)
        if len(taken) == count:
            break
    return taken


def test_a_stream_lasts_until_its_end(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS, chunk_delay_seconds=0.03)
    assert text_of(stream(stage.client())) == "".join(WORDS)
    outcome = stage.event().outcome
    assert outcome.first_chunk_ns is not None
    assert outcome.duration_ns >= outcome.first_chunk_ns + 0.12e9


# --- garbage ---


def leave_in_a_cycle(stage: Stage) -> None:
    """Leave an open stream where only the garbage collector finds it."""
    stage.fake.script.default = Reply(chunks=WORDS)
    made = stream(stage.client())
    take(made, 2)
    cycle: list[object] = [made]
    cycle.append(cycle)


def test_garbage_may_be_collected_inside_the_ledgers_lock(stage: Stage) -> None:
    leave_in_a_cycle(stage)
    with stage.installed.ledger._lock:
        gc.collect()
    assert_cut(stage.event())


def test_garbage_may_be_collected_in_the_thread_that_books_it(stage: Stage) -> None:
    leave_in_a_cycle(stage)
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    stage.installed.lifecycle.worker.put(collect)
    assert collected.wait(5)
    assert_cut(stage.event())


# --- what a program may do with a stream ---


def test_the_chunks_are_the_sdks_own_objects(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    seen: list[object] = []
    client = stage.client()
    process = client._process_response_data

    def remember(**given: Any) -> object:
        seen.append(process(**given))
        return seen[-1]

    client._process_response_data = remember  # type: ignore[method-assign, assignment]  # the SDK's
    got = list(stream(client, stream_options={"include_usage": True}))
    assert len(got) == len(seen) == 9
    assert all(mine is theirs for mine, theirs in zip(got, seen, strict=True))


def test_several_iterators_share_one_stream(stage: Stage, chunks: Chunks) -> None:
    one, other = iter(chunks), iter(chunks)
    mixed = [next(one), next(other), next(chunks), next(one), *other]
    assert text_of(mixed) == "".join(WORDS)
    assert list(one) == []
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_an_iterator_that_is_closed_or_thrown_into_leaves_the_stream_open(
    stage: Stage, chunks: Chunks
) -> None:
    closed: Any = iter(chunks)
    first = next(closed)
    closed.close()
    thrown: Any = iter(chunks)
    second = next(thrown)
    with pytest.raises(UserError):
        thrown.throw(UserError())
    assert stage.events() == []
    assert text_of([first, second, *chunks]) == "".join(WORDS)
    assert stage.event().outcome.status == "ok"


def test_a_stream_may_be_handed_to_another_thread(stage: Stage, chunks: Chunks) -> None:
    first = take(chunks, 2)
    rest: list[ChatCompletionChunk] = []
    thread = threading.Thread(target=lambda: rest.extend(chunks))
    thread.start()
    thread.join()
    assert text_of([*first, *rest]) == "".join(WORDS)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_long_streams_are_read_with_flat_memory(stage: Stage) -> None:
    stage.fake.script.default = Reply(output_tokens=2000)
    made = stream(stage.client())
    run, reader = next(iter(stage.installed.lifecycle.open_streams.values()))
    assert sum(1 for _ in take(made, 1500)) == 1500
    assert len(reader.kept) <= 256
    assert run.call.request.is_stream
    made.close()
    event = stage.event()
    assert event.usage is not None
    assert event.usage.output == pytest.approx(1499, rel=0.1)


# --- the SDK's own helpers ---


def test_a_raw_stream_that_nobody_reads_stays_unknown(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], stream=True
    )
    ours: Any = raw.http_response.stream
    ours.__wrapped__.close()  # the SDK leaves it open
    del ours
    del raw
    gc.collect()
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd
