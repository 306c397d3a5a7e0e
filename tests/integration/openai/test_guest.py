"""Law 4: we are guests. Same objects, signatures and exceptions, and our bugs cost no call."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import openai
import pytest
from openai import AsyncOpenAI
from openai.resources.chat.completions import Completions

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.calls import MODEL, PROMPT, chat, stream, text_of
from tests.integration.openai.stage import Stage, ask, ask_stream
from tollspan import safety

BROKEN = "a bug of ours"


def test_a_bound_methods_signature_is_the_originals(stage: Stage, tmp_path: Path) -> None:
    with_us = inspect.signature(stage.client().chat.completions.create)
    bound = inspect.signature(Completions.__dict__["create"].__wrapped__)
    assert list(with_us.parameters) == list(bound.parameters)[1:]


def test_a_missing_argument_is_the_sdks_own_complaint(stage: Stage) -> None:
    create: Any = stage.client().chat.completions.create
    with pytest.raises(TypeError, match="Missing required arguments"):
        create(model=MODEL)
    with pytest.raises(TypeError):
        create(MODEL, [])
    assert stage.events() == []


# --- our own bugs ---


def broken(*_: object, **__: object) -> NoReturn:
    """Stand for a part of ours that has a bug."""
    raise ZeroDivisionError(BROKEN)


async def broken_async(*_: object, **__: object) -> NoReturn:
    """Stand for an asynchronous part of ours that has a bug."""
    raise ZeroDivisionError(BROKEN)


class Broken:
    """A part that is injected in place of a working one: every method of it raises."""

    def __init__(self, *spared: str, like: object) -> None:
        self._spared = spared
        self._like = like

    def __getattr__(self, name: str) -> Any:
        if name in self._spared:
            return getattr(self._like, name)
        return broken_async if name.endswith("_async") else broken


def break_gate(stage: Stage) -> None:
    lifecycle: Any = stage.installed.lifecycle
    lifecycle.gate = Broken("abandon", like=lifecycle.gate)


def break_sink(stage: Stage) -> None:
    lifecycle: Any = stage.installed.lifecycle
    lifecycle._sink = Broken(like=lifecycle._sink)


def break_spans(stage: Stage) -> None:
    lifecycle: Any = stage.installed.lifecycle
    for spans in (lifecycle.spans, *(funnel.spans for funnel in stage.installed.funnels)):
        spans.tracer = broken
        spans._recorder = Broken(like=spans._recorder)


def break_attribution(stage: Stage) -> None:
    lifecycle: Any = stage.installed.lifecycle
    lifecycle.attribution = broken


def break_hosts(stage: Stage) -> None:
    """The extractor asks for the host: it raises."""
    stage.installed.funnels[0].hosts.route = broken  # type: ignore[method-assign]  # a broken part


def break_prices(stage: Stage) -> None:
    lifecycle: Any = stage.installed.lifecycle
    lifecycle._sink._rates = Broken(like=lifecycle._sink._rates)


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[dict[tuple[str, str], int]]:
    """What was counted, from zero."""
    safety.internal_errors.clear()
    safety._logged_at.clear()
    with caplog.at_level(logging.ERROR, logger="tollspan"):
        yield safety.internal_errors
    records = caplog.get_records("call")
    assert any(record.name == "tollspan.safety" for record in records)
    assert all(PROMPT not in record.getMessage() for record in records)
    safety.internal_errors.clear()
    safety._logged_at.clear()


PARTS = [break_gate, break_sink, break_spans, break_attribution, break_hosts, break_prices]


@pytest.mark.parametrize("kind", ["sync", "stream", "async", "async stream", "error"])
@pytest.mark.parametrize("break_part", PARTS)
def test_a_bug_of_ours_costs_a_log_line_and_a_counter_but_no_call(
    stage: Stage,
    errors: dict[tuple[str, str], int],
    break_part: Callable[[Stage], None],
    kind: str,
) -> None:
    break_part(stage)
    if kind == "error" and break_part is not break_prices:
        stage.fake.script.default = Reply(status=400)
        with pytest.raises(openai.BadRequestError):
            chat(stage.client())
    else:
        assert call(stage, kind) == "Hello! How can I help you today?"
    stage.settle()
    assert sum(errors.values()) >= 1
    assert {name for _, name in errors} == {"ZeroDivisionError"}
    assert stage.fake.hits == 1


def call(stage: Stage, kind: str) -> str | None:
    """Make one call and return the text of its answer."""
    if kind == "stream":
        return text_of(stream(stage.client()))
    if kind == "async":
        return stage.run(ask).choices[0].message.content
    if kind == "async stream":

        async def work(client: AsyncOpenAI) -> str:
            return text_of([chunk async for chunk in await ask_stream(client)])

        return stage.run(work)
    return chat(stage.client()).choices[0].message.content


@pytest.mark.parametrize("kind", ["sync", "stream", "async", "async stream"])
def test_an_answer_that_we_fail_to_price_keeps_its_bound(
    stage: Stage, errors: dict[tuple[str, str], int], kind: str
) -> None:
    lifecycle: Any = stage.installed.lifecycle
    rates = lifecycle._sink._rates

    class FailsOnce:
        def __init__(self) -> None:
            self.left = 1

        def rate(self, *given: Any, **named: Any) -> object:
            self.left -= 1
            return broken() if self.left >= 0 else rates.rate(*given, **named)

    lifecycle._sink._rates = FailsOnce()
    assert call(stage, kind)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd
    assert errors == {("instrumentation.after", "ZeroDivisionError"): 1}


def test_the_books_stay_right_when_only_the_spans_are_broken(
    stage: Stage, errors: dict[tuple[str, str], int]
) -> None:
    break_spans(stage)
    assert call(stage, "sync")
    assert call(stage, "stream")
    assert sum(event.cost.amount_nanousd or 0 for event in stage.events()) == (
        stage.fake.billed_nanousd
    )
    assert harness.balance(stage.home).held == 0


def test_a_denial_stands_though_the_spans_are_broken(
    tmp_path: Path, errors: dict[tuple[str, str], int]
) -> None:
    from tollspan.api import BudgetExceededError

    home = tmp_path / "home"
    with FakeOpenAI() as fake, harness.installed(home, limit="0.000001") as installed:
        stage = Stage(fake=fake, home=home, installed=installed)
        break_spans(stage)
        with pytest.raises(BudgetExceededError):
            chat(stage.client())
        stage.close()
        assert fake.hits == 0
