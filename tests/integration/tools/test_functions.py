"""`@tool` over functions and coroutine functions: asked for before, priced after, traced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.integration.tools.stage import Stage, open_stage
from tollspan.api import (
    BudgetExceededError,
    UnboundedCallError,
    UnpricedModelError,
    report_usage,
    tool,
)
from tollspan.usage import encode_event

Run = Callable[..., Any]


class BrokenToolError(Exception):
    """What a tool of these tests raises."""


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Decorate a body as a function or as a coroutine function, and return what runs it."""

    def decorate(body: Callable[..., Any], **said: Any) -> Run:
        if request.param == "sync":

            @tool(**{"name": "lookup", **said})
            def plain(*args: Any, **kwargs: Any) -> Any:
                return body(*args, **kwargs)

            return plain

        @tool(**{"name": "lookup", **said})
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            awaitable: Awaitable[Any] = coroutine(*args, **kwargs)

            async def main() -> Any:
                return await awaitable

            return asyncio.run(main())

        return run

    return decorate


def test_a_call_costs_its_flat_price_to_the_nano_dollar(
    stage: Stage, make: Callable[..., Run]
) -> None:
    found = object()
    assert make(lambda: found, cost="0.005 USD")() is found
    event = stage.event()
    assert (event.call.request.provider, event.call.request.operation) == ("tool", "execute_tool")
    assert event.call.request.model == "lookup"
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", 5_000_000)
    assert (event.cost.matched_by, event.cost.row_ids) == (
        "declared",
        ("code:tool/lookup:tool_calls",),
    )
    assert event.outcome.status == "ok"
    assert stage.balance().posted == 5_000_000


@pytest.mark.parametrize(
    ("cost", "nanousd"),
    [
        pytest.param("0.000000001 USD", 1, id="one nano-dollar"),
        pytest.param("0.0000000015", 2, id="rounded once, half to even"),
        pytest.param(Decimal("0.1"), 100_000_000, id="a Decimal"),
        pytest.param("0 USD", 0, id="declared to be free"),
    ],
)
def test_prices_are_exact(
    stage: Stage, make: Callable[..., Run], cost: str | Decimal, nanousd: int
) -> None:
    make(lambda: None, cost=cost)()
    event = stage.event()
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", nanousd)


def test_the_event_is_there_when_the_tool_returns(stage: Stage) -> None:
    @tool(cost="0.1 USD")
    def lookup() -> None:
        """Look up."""

    lookup()
    assert [event.cost.amount_nanousd for event in stage.at_once()] == [100_000_000]


def test_a_failed_tool_costs_what_it_costs(stage: Stage, make: Callable[..., Run]) -> None:
    error = BrokenToolError("secret text")

    def body() -> None:
        raise error

    with pytest.raises(BrokenToolError) as raised:
        make(body, cost="0.1 USD")()
    assert raised.value is error
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "BrokenToolError")
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", 100_000_000)
    span = stage.span("execute_tool lookup")
    assert span.status.status_code is StatusCode.ERROR
    assert "secret text" not in span.to_json()
    assert b"secret text" not in encode_event(event)


def test_a_tool_that_does_not_fit_is_refused_before_it_runs(
    stage: Stage, make: Callable[..., Run]
) -> None:
    ran: list[int] = []
    run = make(lambda: ran.append(1), cost="0.4 USD")
    run()
    run()
    with pytest.raises(BudgetExceededError) as denied:
        run()
    assert len(ran) == 2
    assert denied.value.rule_id == "all"
    assert stage.balance().posted == 800_000_000
    assert stage.balance().held == 0
    *_, span = stage.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "tollspan.budget_exceeded"
    assert span.attributes["tollspan.decision"] == "deny"
    (event,) = stage.denials()
    assert event.call.request.model == "lookup"


def test_a_tool_without_a_price_is_unpriced_and_never_free(
    stage: Stage, make: Callable[..., Run]
) -> None:
    make(lambda: None)()
    event = stage.event()
    assert (event.cost.status, event.cost.amount_nanousd) == ("unpriced", None)
    assert event.cost.unpriced_units == ("tool_calls",)


def test_rules_may_refuse_what_has_no_price(
    tmp_path: Any, memory: InMemorySpanExporter, make: Callable[..., Run]
) -> None:
    rules = """
    version: 1
    defaults: {on_unpriced: deny}
    budgets: [{id: all, limit: 1 USD}]
    """
    ran: list[int] = []
    with open_stage(tmp_path, memory, rules=rules):
        with pytest.raises(UnpricedModelError):
            make(lambda: ran.append(1))()
        make(lambda: ran.append(1), cost="0 USD")()
    assert len(ran) == 1


def test_the_operators_price_comes_before_the_codes(stage: Stage, make: Callable[..., Run]) -> None:
    make(lambda: None, name="search", cost="0.9 USD")()
    event = stage.event()
    assert (event.cost.amount_nanousd, event.cost.matched_by) == (250_000_000, "override")


def test_units_are_counted_as_the_tool_runs(stage: Stage, make: Callable[..., Run]) -> None:
    def body() -> None:
        report_usage(tool="lookup", metric="pages", value=3)
        report_usage(metric="pages", value=4)

    make(body, unit="pages", price="0.01 USD", max_units=10)()
    event = stage.event()
    assert event.usage is not None
    assert event.usage.quantities == (("pages", 7), ("tool_calls", 1))
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", 70_000_000)
    assert event.decision.bound_nanousd == 100_000_000


def test_a_flat_price_and_one_for_units_add_up(stage: Stage, make: Callable[..., Run]) -> None:
    run = make(
        lambda: report_usage(metric="pages", value=2),
        cost="0.1 USD", unit="pages", price="0.01 USD", max_units=5,
    )  # fmt: skip
    run()
    event = stage.event()
    assert (event.cost.amount_nanousd, event.decision.bound_nanousd) == (120_000_000, 150_000_000)


def test_more_than_the_most_is_posted_and_marked(stage: Stage, make: Callable[..., Run]) -> None:
    run = make(
        lambda: report_usage(metric="pages", value=9), unit="pages", price="0.1 USD", max_units=5
    )
    run()
    event = stage.event()
    assert event.cost.amount_nanousd == 900_000_000
    assert event.marks == ("overrun",)
    assert event.charges[0].overrun == 400_000_000


def test_what_nobody_reported_is_unknown_and_stays_counted(
    stage: Stage, make: Callable[..., Run]
) -> None:
    make(lambda: None, unit="pages", price="0.1 USD", max_units=5)()
    event = stage.event()
    assert (event.cost.status, event.cost.amount_nanousd) == ("unknown", None)
    assert stage.balance().unresolved == 500_000_000


def test_units_without_a_limit_are_refused_where_there_is_a_budget(
    stage: Stage, make: Callable[..., Run]
) -> None:
    ran: list[int] = []
    run = make(lambda: ran.append(1), unit="words", price="0.1 USD")
    with pytest.raises(UnboundedCallError, match="max_units"):
        run()
    assert ran == []


def test_a_reserve_of_the_operator_bounds_them(stage: Stage, make: Callable[..., Run]) -> None:
    make(lambda: report_usage(metric="pages", value=1), name="ocr", unit="pages")()
    event = stage.event()
    assert event.decision.bound_nanousd == 100_000_000
    assert event.decision.bound_reasons == ("reserve:pages",)
    assert event.cost.amount_nanousd == 2_000_000


def test_a_unit_without_a_price_is_never_free(stage: Stage, make: Callable[..., Run]) -> None:
    make(lambda: report_usage(metric="credits", value=1), cost="0.1 USD")()
    event = stage.event()
    assert (event.cost.status, event.cost.amount_nanousd) == ("partial", 100_000_000)
    assert event.cost.unpriced_units == ("credits",)


def test_the_span_is_an_execute_tool_span_without_content(
    stage: Stage, make: Callable[..., Run]
) -> None:
    make(lambda question: f"answer to {question}", cost="0.1 USD")(question="a secret")
    span = stage.span("execute_tool lookup")
    event = stage.event()
    assert span.kind is SpanKind.INTERNAL
    assert span.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
        "gen_ai.tool.type": "function",
        "tollspan.call.id": event.call.id,
        "tollspan.decision": "allow",
        "tollspan.cost.status": "priced",
        "tollspan.cost.nanousd": 100_000_000,
        "tollspan.cost.usd": 0.1,
        "tollspan.usage.status": "reported",
    }
    context = span.get_span_context()
    assert context is not None
    assert event.traceparent is not None
    assert f"{context.span_id:016x}" in event.traceparent


@pytest.mark.parametrize(
    "call", [lambda run: run("q", "call_7"), lambda run: run("q", tool_call_id="call_7")]
)
def test_the_models_id_of_the_call_is_on_the_span(stage: Stage, call: Callable[[Run], Any]) -> None:
    @tool(cost="0 USD", call_id="tool_call_id")
    def lookup(question: str, tool_call_id: str) -> str:
        return question + tool_call_id

    assert call(lookup) == "qcall_7"
    span = stage.span("execute_tool lookup")
    assert span.attributes is not None
    assert span.attributes["gen_ai.tool.call.id"] == "call_7"


def test_tools_within_tools_cost_only_what_is_their_own(stage: Stage) -> None:
    @tool(cost="0.1 USD")
    def inner() -> None:
        report_usage(tool="outer", metric="pages", value=2)

    @tool(unit="pages", price="0.01 USD", max_units=5)
    def outer() -> None:
        inner()

    outer()
    one, two = stage.events()
    assert (one.call.request.model, one.cost.amount_nanousd) == ("inner", 100_000_000)
    assert (two.call.request.model, two.cost.amount_nanousd) == ("outer", 20_000_000)
    child, parent = stage.span("execute_tool inner"), stage.span("execute_tool outer")
    assert child.parent is not None
    assert parent.context is not None
    assert child.parent.span_id == parent.context.span_id


def test_a_refusal_within_a_tool_passes_through_it(stage: Stage) -> None:
    @tool(cost="0.9 USD")
    def dear() -> None:
        """Cost a lot."""

    @tool(cost="0.2 USD")
    def outer() -> None:
        dear()

    with pytest.raises(BudgetExceededError):
        outer()
    (event,) = stage.events()
    assert event.call.request.model == "outer"
    assert event.outcome.error_type == "tollspan.budget_exceeded"
    assert event.cost.amount_nanousd == 200_000_000


def test_a_cancelled_tool_costs_what_it_costs(stage: Stage) -> None:
    @tool(cost="0.1 USD")
    async def slow() -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    event = stage.event()
    assert (event.outcome.status, event.cost.amount_nanousd) == ("cancelled", 100_000_000)


def test_a_tool_that_times_out_says_so(stage: Stage) -> None:
    @tool(cost="0.1 USD")
    async def slow() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        asyncio.run(slow())
    event = stage.event()
    assert (event.outcome.status, event.cost.amount_nanousd) == ("timeout", 100_000_000)


def test_tasks_side_by_side_never_pass_the_limit(stage: Stage) -> None:
    @tool(cost="0.3 USD")
    async def lookup() -> None:
        await asyncio.sleep(0.01)

    async def main() -> list[Any]:
        return await asyncio.gather(*(lookup() for _ in range(20)), return_exceptions=True)

    answers = asyncio.run(main())
    assert sum(answer is None for answer in answers) == 3
    assert sum(isinstance(answer, BudgetExceededError) for answer in answers) == 17
    assert stage.balance().posted == 900_000_000


def test_a_budget_may_count_the_calls_of_one_tool(
    tmp_path: Any, memory: InMemorySpanExporter, make: Callable[..., Run]
) -> None:
    rules = """
    version: 1
    budgets: [{id: searches, where: {tool: web_search}, limit: 2 calls, window: day}]
    """
    with open_stage(tmp_path, memory, rules=rules):
        search, other = make(lambda: 1, name="web_search"), make(lambda: 2, name="other")
        assert [search(), search(), other()] == [1, 1, 2]
        with pytest.raises(BudgetExceededError) as denied:
            search()
        assert (denied.value.rule_id, denied.value.unit) == ("searches", "calls")
        assert other() == 2
