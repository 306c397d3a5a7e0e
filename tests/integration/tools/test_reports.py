"""`report_usage` outside of a tool: posted at once, over a limit too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from tests.integration.tools.stage import Stage
from tollspan.api import report_usage, tool


def test_what_was_used_is_an_event_of_its_own_and_durable(stage: Stage) -> None:
    report_usage(tool="ocr", metric="pages", value=12)
    (event,) = stage.at_once()
    assert event.usage is not None
    assert event.usage.quantities == (("pages", 12),)
    assert (event.call.door, event.call.request.model) == ("report", "ocr")
    assert (event.cost.status, event.cost.amount_nanousd) == ("priced", 24_000_000)
    assert event.marks == ()
    assert stage.balance().posted == 24_000_000
    assert stage.balance().held == 0


def test_whole_calls_may_be_reported(stage: Stage) -> None:
    report_usage(tool="search", metric="tool_calls", value=3)
    assert stage.event().cost.amount_nanousd == 750_000_000


def test_spent_money_is_posted_over_the_limit_and_marked(stage: Stage) -> None:
    report_usage(tool="search", metric="tool_calls", value=3)
    report_usage(tool="search", metric="tool_calls", value=3)
    one, two = stage.events()
    assert (one.marks, two.marks) == ((), ("overrun",))
    assert two.cost.amount_nanousd == 750_000_000
    assert two.charges[0].overrun == 750_000_000
    assert stage.balance().posted == 1_500_000_000
    assert stage.denials() == []


def test_a_tool_that_nobody_knows_is_unpriced(stage: Stage) -> None:
    report_usage(tool="unheard_of", metric="widgets", value=1)
    event = stage.event()
    assert (event.cost.status, event.cost.unpriced_units) == ("unpriced", ("widgets",))


def test_what_the_code_declares_prices_reports_too(stage: Stage) -> None:
    @tool(name="scanner", unit="sheets", price="0.05 USD", max_units=1)
    def scan() -> None:
        """Scan."""

    report_usage(tool="scanner", metric="sheets", value=2)
    assert stage.event().cost.amount_nanousd == 100_000_000


def test_zero_is_a_value_and_costs_nothing(stage: Stage) -> None:
    report_usage(tool="ocr", metric="pages", value=0)
    assert (stage.event().cost.status, stage.event().cost.amount_nanousd) == ("priced", 0)


def test_a_report_about_another_tool_within_a_tool_is_its_own(stage: Stage) -> None:
    @tool(cost="0 USD")
    def lookup() -> None:
        report_usage(tool="ocr", metric="pages", value=1)

    lookup()
    report, call = stage.events()
    assert (report.call.request.model, report.cost.amount_nanousd) == ("ocr", 2_000_000)
    assert (call.call.request.model, call.cost.amount_nanousd) == ("lookup", 0)


def test_a_thread_that_reports_after_the_tool_has_ended_is_heard(stage: Stage) -> None:
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def report() -> None:
        ended.wait(5)
        report_usage(metric="pages", value=4)

    @tool(name="ocr", unit="pages", max_units=9)
    def scan() -> None:
        report_usage(metric="pages", value=1)
        context = copy_context()
        threads.append(threading.Thread(target=context.run, args=(report,)))
        threads[0].start()

    scan()
    ended.set()
    threads[0].join()
    call, late = stage.events()
    assert (call.cost.amount_nanousd, late.cost.amount_nanousd) == (2_000_000, 8_000_000)
    assert (call.call.door, late.call.door) == ("instrumentor", "report")


def test_threads_of_one_tool_count_together(stage: Stage) -> None:
    @tool(name="ocr", unit="pages", max_units=400)
    def scan() -> None:
        def work() -> None:
            for _ in range(50):
                report_usage(metric="pages", value=1)

        contexts = [copy_context() for _ in range(8)]
        threads = [threading.Thread(target=one.run, args=(work,)) for one in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    scan()
    event = stage.event()
    assert event.usage is not None
    assert dict(event.usage.quantities)["pages"] == 400


def test_it_may_be_awaited_in_another_thread(stage: Stage) -> None:
    asyncio.run(asyncio.to_thread(report_usage, tool="ocr", metric="pages", value=1))
    assert stage.event().cost.amount_nanousd == 2_000_000


@pytest.mark.parametrize("is_installed", [True, False])
@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        pytest.param({"value": -1}, ValueError, "`value` is -1; expected 0 to", id="negative"),
        pytest.param({"value": True}, TypeError, "whole number of units, not bool", id="bool"),
        pytest.param({"value": 1.5}, ValueError, "1.5; units are counted in whole", id="part"),
        pytest.param({"value": float("nan")}, ValueError, "whole numbers", id="no number"),
        pytest.param({"value": "3"}, TypeError, "whole number of units, not str", id="text"),
        pytest.param({"value": 10**30}, ValueError, "expected 0 to 1,000,000,000", id="huge"),
        pytest.param({"metric": "Pages!"}, ValueError, "'Pages!'; expected a unit", id="unit"),
        pytest.param({"metric": "output"}, ValueError, "'output'; expected a unit", id="tokens"),
        pytest.param({"metric": 3}, TypeError, "name of a unit, not int", id="unit's type"),
        pytest.param({"tool": ""}, ValueError, "1 to 256 characters", id="empty name"),
        pytest.param({"tool": "a\nb"}, ValueError, "no control characters", id="control"),
        pytest.param({"tool": 7}, TypeError, "a tool's name is a text", id="name's type"),
    ],
)
def test_what_is_wrong_is_said_and_never_booked(
    request: pytest.FixtureRequest,
    said: dict[str, Any],
    error: type[Exception],
    text: str,
    is_installed: bool,
) -> None:
    stage: Stage | None = request.getfixturevalue("stage") if is_installed else None
    call: Callable[..., None] = report_usage
    with pytest.raises(error, match=text):
        call(**{"tool": "ocr", "metric": "pages", "value": 1, **said})
    if stage is not None:
        report_usage(tool="ocr", metric="pages", value=1)
        assert len(stage.events()) == 1


def test_a_whole_float_counts(stage: Stage) -> None:
    call: Callable[..., None] = report_usage
    call(tool="ocr", metric="pages", value=3.0)
    assert stage.event().cost.amount_nanousd == 6_000_000
