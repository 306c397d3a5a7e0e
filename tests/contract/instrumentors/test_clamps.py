"""Calls that are let write less than they asked for, with every surface that writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import kits
from tests.contract.instrumentors.stage import Caller, Stage, Wires, open_stage
from tests.contract.instrumentors.ways import Way
from tollspan.api import BudgetExceededError
from tollspan.pricing import PriceBook
from tollspan.usage import Request, format_usd

BOOK = PriceBook.load()
LEAST, ROOM = 20, 30
writing = kits(lambda kit: kit.most_output)
# The name that the body's limit has, in which some surface has one.
NAMES = ("max_completion_tokens", "max_output_tokens", "max_tokens")
Opener = Callable[..., Any]


@pytest.fixture
def opener(kit: Kit, way: Way, wires: Wires, tmp_path: Path) -> Opener:
    """Open stages with a budget that has room for so many tokens of output, and clamps."""
    with open_stage(kit, way, wires, tmp_path / "probe") as stage:
        stage.run(lambda caller: caller.ask())
        request = stage.event().call.request

    @contextmanager
    def made(output_tokens: int, **change: Any) -> Iterator[Stage]:
        asked = msgspec.structs.replace(request, max_output_tokens=output_tokens, **change)
        budgets = (
            f"{{id: all, limit: {format_usd(bound(asked))} USD, "
            f"on_exceed: {{clamp: {{minimum: {LEAST}}}}}}}"
        )
        with open_stage(kit, way, wires, tmp_path / "home", budgets=budgets) as stage:
            yield stage

    return made


def bound(request: Request) -> int:
    found = BOOK.bound(request, 1_795_348_800_000_000_000, ceiling=True).amount_nanousd
    assert found is not None
    return found


def limits_sent(stage: Stage) -> dict[str, object]:
    """Return what the one body that was sent says of its limit."""
    (request,) = stage.fake.requests
    body = request.json
    assert isinstance(body, dict)
    return {name: body[name] for name in NAMES if body.get(name) is not None}


def name_of(kit: Kit) -> str:
    (name,) = [name for name in NAMES if name in kit.asked]
    return name


async def whole(caller: Caller) -> None:
    await caller.ask()


async def streamed(caller: Caller) -> None:
    await caller.way.loop(await caller.stream())


async def raw(caller: Caller) -> None:
    await caller.way.get((await caller.raw()).parse())


async def streaming(caller: Caller) -> None:
    async with caller.streaming() as response:
        await caller.way.get(response.read())


@writing
@pytest.mark.parametrize("ask", [whole, streamed, raw, streaming])
def test_the_limit_that_the_caller_used_is_lowered_to_what_fits(
    opener: Opener, kit: Kit, ask: Callable[[Caller], Any], spans: InMemorySpanExporter
) -> None:
    with opener(ROOM) as stage:
        stage.run(ask)
        assert limits_sent(stage) == {name_of(kit): ROOM}
        event = stage.event()
    assert event.outcome.status == "ok"
    assert event.call.request.max_output_tokens == ROOM
    note = event.decision
    assert (note.action, note.clamped_from, note.clamped_to) == ("clamp", kit.most_output, ROOM)
    assert note.rule_ids == ("all",)
    span = spans.get_finished_spans()[-1]
    assert span.attributes is not None
    assert span.attributes["gen_ai.request.max_tokens"] == ROOM
    assert span.attributes["tollspan.clamped.to"] == ROOM
    assert span.attributes["tollspan.clamped.from"] == kit.most_output
    assert span.attributes["tollspan.decision"] == "clamp"
    assert span.attributes["tollspan.rule.id"] == "all"


@writing
def test_below_the_minimum_the_provider_is_not_asked(opener: Opener) -> None:
    with opener(LEAST - 1) as stage:
        with pytest.raises(BudgetExceededError):
            stage.run(whole)
        assert stage.fake.hits == 0


@writing
def test_what_belongs_to_the_caller_stays_as_it_is(opener: Opener, kit: Kit) -> None:
    extra = {name_of(kit): 150, "metadata": {"a": "b"}}
    given = copy.deepcopy(extra)
    messages = copy.deepcopy(dict(kit.asked))
    with opener(ROOM + 20) as stage:
        stage.run(lambda caller: caller.ask(extra_body=extra))
        (sent,) = limits_sent(stage).values()
        assert isinstance(sent, int)
        assert LEAST <= sent < 150
        assert stage.event().decision.clamped_to == sent
    assert extra == given
    assert dict(kit.asked) == messages
