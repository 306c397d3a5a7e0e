"""Calls that go out with another model than they asked for."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import kits
from tests.contract.instrumentors.stage import Caller, Stage, Wires, open_stage
from tests.contract.instrumentors.ways import Way
from tests.fakes import Reply
from tollspan.api import BudgetExceededError
from tollspan.pricing import PriceBook
from tollspan.usage import Attribution, Call, Request, new_call_id

BOOK = PriceBook.load()
# The dear model and the cheap one, by the SDK that sells them.
MODELS = {"openai": ("gpt-4o", "gpt-4o-mini"), "anthropic": ("claude-opus-4-7", "claude-haiku-4-5")}
rerouted = kits(lambda kit: kit.most_output and kit.operation == "chat")
representative = kits(lambda kit: kit.stands_for_others)


def models(kit: Kit) -> tuple[str, str]:
    return MODELS[kit.package.__name__]


def budget(kit: Kit, limit: str) -> str:
    dear, cheap = models(kit)
    return f"{{id: all, limit: {limit} USD, on_exceed: {{reroute: {{{dear}: {cheap}}}}}}}"


@pytest.fixture
def tight(kit: Kit, way: Way, wires: Wires, tmp_path: Path) -> Iterator[Stage]:
    """A budget that has room for the cheap model alone."""
    limit = "0.0035" if kit.package.__name__ == "openai" else "0.007"
    with open_stage(kit, way, wires, tmp_path, budgets=budget(kit, limit)) as made:
        yield made


def sent(stage: Stage) -> list[object]:
    """Return the models that the provider was asked for."""
    return [one.json["model"] for one in stage.fake.requests if isinstance(one.json, dict)]


async def whole(caller: Caller) -> None:
    await caller.ask(model=models(caller.kit)[0])


async def streamed(caller: Caller) -> None:
    await caller.way.loop(await caller.stream(model=models(caller.kit)[0]))


async def raw(caller: Caller) -> None:
    await caller.way.get((await caller.raw(model=models(caller.kit)[0])).parse())


@rerouted
@pytest.mark.parametrize("ask", [whole, streamed, raw])
def test_the_cheap_model_is_asked_instead(
    tight: Stage, kit: Kit, ask: Callable[[Caller], Any], spans: InMemorySpanExporter
) -> None:
    dear, cheap = models(kit)
    tight.run(ask)
    assert sent(tight) == [cheap]
    event = tight.priced_event()
    assert event.call.request.model == cheap
    assert (event.decision.action, event.decision.asked_model) == ("reroute", dear)
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.request.model"] == cheap
    assert span.attributes["tollspan.asked.model"] == dear
    assert span.attributes["tollspan.decision"] == "reroute"


@rerouted
def test_what_belongs_to_the_caller_stays_as_it_is(tight: Stage, kit: Kit) -> None:
    dear, cheap = models(kit)
    extra = {"metadata": {"a": "b"}, "model": dear}
    given = copy.deepcopy(extra)
    tight.run(lambda caller: caller.ask(model=dear, extra_body=extra))
    assert sent(tight) == [cheap]
    assert extra == given


@kits(lambda kit: "azure" in kit.name)
def test_a_client_whose_address_has_the_model_in_it_is_refused(tight: Stage) -> None:
    with pytest.raises(BudgetExceededError):
        tight.run(whole, azure_deployment="mine")
    assert tight.fake.hits == 0
    (denial,) = tight.denials()
    assert denial.decision.action == "deny"


@representative
@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_the_other_model_and_without_room_the_providers_error_comes_through(
    tight: Stage, kit: Kit, status: int
) -> None:
    tight.fake.script.push(Reply(status=status))
    with pytest.raises(kit.package.APIStatusError) as caught:
        tight.run(whole)
    assert caught.value.status_code == status
    assert sent(tight) == [models(kit)[1]]
    (event,) = tight.events()
    assert event.outcome.error_type == str(status)
    (denial,) = tight.denials()
    assert denial.call.request.model == models(kit)[0]


@representative
@pytest.mark.parametrize("status", [400, 429, 500])
def test_other_errors_have_nothing_asked_again(tight: Stage, kit: Kit, status: int) -> None:
    tight.fake.script.push(Reply(status=status))
    with pytest.raises(kit.package.APIStatusError):
        tight.run(whole)
    assert len(sent(tight)) == 1
    assert tight.denials() == []


@representative
@pytest.mark.parametrize("ask", [whole, streamed, raw])
def test_without_the_other_model_the_asked_one_is_called_if_it_fits_by_now(
    kit: Kit, way: Way, wires: Wires, tmp_path: Path, ask: Callable[[Caller], Any]
) -> None:
    dear, cheap = models(kit)
    with open_stage(kit, way, wires, tmp_path, budgets=budget(kit, "0.5")) as stage:
        other = hold(stage, kit)
        stage.fake.script.push(Reply(status=404, latency_seconds=0.3))
        releasing = threading.Thread(target=release, args=(stage, other))
        releasing.start()
        stage.run(ask)
        releasing.join()
        assert sent(stage) == [cheap, dear]
        failed, made = stage.events()
        assert (failed.call.request.model, failed.outcome.error_type) == (cheap, "404")
        assert failed.usage is None
        assert (made.call.request.model, made.outcome.status) == (dear, "ok")
        assert (made.decision.action, made.decision.asked_model) == ("allow", None)
        assert stage.denials() == []
        assert made.cost.amount_nanousd == stage.fake.billed_nanousd


def hold(stage: Stage, kit: Kit) -> Call:
    """Have another call hold nearly all of the budget."""
    dear, _ = models(kit)
    asked = Request(provider=kit.provider, operation="chat", model=dear, max_output_tokens=0)
    now = time.time_ns()
    least, far = (
        BOOK.bound(structs.replace(asked, max_output_tokens=output), now).amount_nanousd or 0
        for output in (0, 1_000_000)
    )
    # What is left has room for the cheap model alone.
    most = (497_500_000 - least) * 1_000_000 // (far - least)
    call = Call(
        id=new_call_id(),
        started_at_unix_ns=now,
        request=structs.replace(asked, max_output_tokens=most),
        attribution=Attribution(),
    )
    decision = stage.installed.gate.authorize(call)
    assert (decision.denial, decision.change) == (None, None)
    return call


def release(stage: Stage, call: Call) -> None:
    """Give back what a call holds, once the provider was asked."""
    until = time.monotonic() + 5
    while not stage.fake.hits and time.monotonic() < until:
        time.sleep(0.01)
    stage.installed.gate.abandon(call.id)
