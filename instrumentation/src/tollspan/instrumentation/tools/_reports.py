"""`report_usage`: what a tool has used, said by the program."""

from __future__ import annotations

from tollspan.instrumentation._shapes import Reading
from tollspan.instrumentation._tool_call import ToolCall, running
from tollspan.usage import Response, Usage

from ._declared import check_metric, check_name, declared_prices, request_of, whole_number
from ._host import lifecycle_in_force


def report_usage(*, metric: str, value: int, tool: str | None = None) -> None:
    """Say how much a tool has used: so many `pages`, `characters`, or a unit of your own.

    Within a call of a tool that `@tool` decorates, it is added to that call and priced when it
    ends. Elsewhere it is an event of its own, in the ledger when this returns: the money is spent,
    so it is posted, over a limit too, and is then marked `overrun`. It may wait for the ledger's
    file; on an event loop, call it by `asyncio.to_thread`. Without tollspan it does nothing.

    Args:
        metric: The unit, as the price names it; `tool_calls` for whole calls.
        value: How many, a whole number from 0 to 1,000,000,000.
        tool: The tool's name; None for the one that runs here. One that has no price is
            `unpriced`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is wrong, or no tool is named and none runs here.
    """
    check_metric("metric", metric)
    count = whole_number("value", value)
    if tool is not None:
        check_name(tool)
    lifecycle = lifecycle_in_force()
    call = running(tool)
    if call is not None and call.add(metric, count):
        return
    name = call.name if call is not None else tool
    if lifecycle is None:
        return
    if name is None:
        raise ValueError("report_usage: no tool runs here; say which one, tool='ocr' say")
    quantities = ((metric, count),)
    request = request_of(name, quantities, declared_prices.get(name, ()))
    lifecycle.report(
        ToolCall(request, lifecycle.spans),
        request,
        Reading(Usage(quantities=quantities), Response()),
    )
