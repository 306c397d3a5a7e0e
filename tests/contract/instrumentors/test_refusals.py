"""Calls that the gate refuses, and calls that the provider does."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.contract.instrumentors import servers
from tests.contract.instrumentors.kit import Found, Kit
from tests.contract.instrumentors.kits import kits
from tests.contract.instrumentors.stage import Caller, Stage
from tests.fakes import Reply
from tollspan.api import BudgetExceededError, CallDeniedError

Call = Callable[[Caller], Coroutine[Any, Any, object]]


async def plain(caller: Caller) -> None:
    await caller.ask()


async def stream(caller: Caller) -> None:
    await caller.stream()


async def raw(caller: Caller) -> None:
    await caller.raw()


async def raw_stream(caller: Caller) -> None:
    await caller.raw(stream=True)


async def streaming_response(caller: Caller) -> None:
    async with caller.streaming():
        pytest.fail("it must not begin")


async def helper(caller: Caller) -> None:
    async with caller.helper():
        pytest.fail("it must not begin")


async def parse(caller: Caller) -> None:
    await caller.parse(Found)


CALLS: dict[Call, Callable[[Kit], object]] = {
    plain: lambda kit: True,
    stream: lambda kit: kit.streams,
    raw: lambda kit: True,
    raw_stream: lambda kit: kit.streams,
    streaming_response: lambda kit: True,
    helper: lambda kit: kit.helper,
    parse: lambda kit: kit.parse,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_denied_call_is_never_sent(poor: Stage, kit: Kit, call: Call) -> None:
    if not CALLS[call](kit):
        return
    if call is parse and kit.parse is not None and kit.parse.missing:
        pytest.skip(kit.parse.missing)
    with pytest.raises(BudgetExceededError) as caught:
        poor.run(call)
    assert isinstance(caught.value, CallDeniedError)
    assert caught.value.rule_id == "all"
    assert poor.fake.hits == 0
    assert poor.events() == []
    (denial,) = poor.denials()
    assert denial.error_type == caught.value.error_type == "tollspan.budget_exceeded"
    assert denial.call.request.provider == kit.provider
    assert denial.call.request.model == kit.model
    assert denial.held == denial.spent == 0
    assert poor.open_streams == 0


def test_a_denial_is_raised_at_once_however_often_the_sdk_would_retry(
    poor: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INITIAL_RETRY_DELAY", "MAX_RETRY_DELAY"):
        monkeypatch.setattr(f"{poor.kit.package.__name__}._base_client.{name}", 60.0)
    began = time.monotonic()
    with pytest.raises(BudgetExceededError):
        poor.run(plain, max_retries=5)
    assert time.monotonic() - began < 20, "the SDK's first retry comes after a minute"
    assert len(poor.denials()) == 1


# --- the provider's own refusals ---


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 529])
def test_the_providers_exception_is_the_very_object_that_the_sdk_made(
    stage: Stage, status: int
) -> None:
    stage.fake.script.default = Reply(status=status)
    made: list[BaseException] = []
    caller = stage.caller()
    make = caller.client._make_status_error_from_response

    def remember(response: Any) -> object:
        made.append(make(response))
        return made[-1]

    caller.client._make_status_error_from_response = remember
    with stage.bare(), pytest.raises(stage.kit.package.APIStatusError) as bare:
        stage.way.run(caller.ask())
    with pytest.raises(stage.kit.package.APIStatusError) as ours:
        stage.way.run(caller.ask())
    assert ours.value is made[-1]
    assert type(ours.value) is type(bare.value)
    assert str(ours.value).partition("req")[0] == str(bare.value).partition("req")[0]
    assert ours.value.__cause__ is bare.value.__cause__ is None
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", str(status))
    assert event.cost.status == "not_billed"


@pytest.mark.parametrize("server", [servers.refusing, servers.silent])
def test_a_broken_connection_raises_what_it_raises_without_us(
    stage: Stage, server: servers.Server
) -> None:
    timeout = stage.kit.package.Timeout(5, read=0.1)
    with server() as root_url:
        caller = stage.caller(root_url=root_url, timeout=timeout)
        with stage.bare(), pytest.raises(stage.kit.package.APIConnectionError) as bare:
            stage.way.run(caller.ask())
        with pytest.raises(stage.kit.package.APIConnectionError) as ours:
            stage.way.run(caller.ask())
    assert type(ours.value) is type(bare.value)
    assert type(ours.value.__cause__) is type(bare.value.__cause__)
    assert len(stage.events()) == 1


def test_a_malformed_answer_raises_what_it_raises_without_us(stage: Stage) -> None:
    stage.fake.script.default = Reply(malformed_json=True)
    caller = stage.caller()
    with stage.bare(), pytest.raises(ValueError, match="line") as bare:
        stage.way.run(caller.ask())
    with pytest.raises(ValueError, match="line") as ours:
        stage.way.run(caller.ask())
    assert type(ours.value) is type(bare.value)
    event = stage.event()
    assert event.charges[0].unresolved == event.decision.bound_nanousd


@kits(lambda kit: kit.failed)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_says_that_it_failed_is_a_failure(stage: Stage, *, is_stream: bool) -> None:
    assert stage.kit.failed is not None
    stage.fake.script.default = Reply().with_json(stage.kit.failed)

    async def work(caller: Caller) -> None:
        answer = await caller.ask(**({"stream": True} if is_stream else {}))
        if is_stream:
            await caller.way.loop(answer)

    stage.run(work)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "server_error")
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd


def test_a_wrong_argument_is_the_sdks_own_complaint(stage: Stage) -> None:
    async def work(caller: Caller) -> None:
        with pytest.raises(TypeError):
            await caller.way.get(caller.create("by position"))

    stage.run(work)
    assert stage.events() == []
    assert stage.fake.hits == 0


def test_the_time_out_is_the_callers(stage: Stage) -> None:
    timeout = stage.kit.package.Timeout(7, read=3)
    seen: list[object] = []

    async def work(caller: Caller) -> None:
        build = caller.client._build_request

        def remember(*args: Any, **kwargs: Any) -> Any:
            request = build(*args, **kwargs)
            seen.append(request.extensions["timeout"])
            return request

        caller.client._build_request = remember
        await caller.ask(timeout=timeout)

    stage.run(work)
    assert seen == [{"connect": 7, "read": 3, "write": 7, "pool": 7}]
