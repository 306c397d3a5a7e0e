"""What a price costs in bytecodes, time to load and memory: frozen figures, measured x 1.3."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage

NOW = 1_795_348_800_000_000_000
REQUEST = Request(
    provider="openai", operation="chat", model="gpt-5.5", input_bytes=9_000, max_output_tokens=500
)
RESPONSE = Response(model="gpt-5.5-2026-04-23", service_tier="default")
USAGE = Usage(input_uncached=1_000, cache_read=1_024, output=300, reasoning=128)


def bytecodes(call: Callable[[], object]) -> int:
    """Return the bytecodes that a call executes, those of `call` itself not counted."""
    count = 0
    own = call.__code__

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_code is not own:
            count += 1
        return trace

    call()
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(previous)
    return count


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="figures are those of Python 3.11")
@pytest.mark.parametrize(
    ("name", "most"),
    [
        pytest.param("rate", 96, id="a rated call"),
        pytest.param("bound", 58, id="a bounded request"),
        pytest.param("bound of another size", 475, id="a bound whose memo is cold"),
    ],
)
def test_a_price_takes_few_bytecodes(book: PriceBook, name: str, most: int) -> None:
    limits = iter(range(700, 10_000))

    def cold() -> Request:
        return Request(
            provider="openai", operation="chat", model="gpt-5.5", max_output_tokens=next(limits)
        )

    requests = [cold(), cold()]
    calls: dict[str, Callable[[], object]] = {
        "rate": lambda: book.rate(REQUEST, RESPONSE, USAGE, NOW),
        "bound": lambda: book.bound(REQUEST, NOW),
        "bound of another size": lambda: book.bound(requests.pop(), NOW),
    }
    assert bytecodes(calls[name]) <= most


def test_the_book_loads_in_30_ms_of_cpu() -> None:
    took: list[float] = []
    for _ in range(5):
        start = time.process_time()
        book = PriceBook.load()
        book.bound(REQUEST, NOW)
        took.append(time.process_time() - start)
    assert min(took) <= 0.030


def use(book: PriceBook, request: Request, said: str | None, *, ceiling: bool) -> None:
    book.bound(request, NOW, ceiling=ceiling)
    book.rate(request, Response(model=said), USAGE, NOW, ceiling=ceiling)


def test_thousands_of_unknown_names_keep_no_memory(book: PriceBook) -> None:
    def ask(number: int) -> None:
        name = f"model-{number}"
        request = (
            Request(provider="openai", operation="chat", model=name, max_output_tokens=1),
            Request(provider=name, operation="chat", model=name, max_output_tokens=1),
            Request(provider="openai", operation="chat", model="gpt-4o", service_tier=name),
        )[number % 3]
        use(book, request, name, ceiling=number % 6 < 3)

    ask(0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(3_000):
        ask(number)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 32 << 10


def test_known_prices_under_ever_new_names_fill_a_bounded_memo() -> None:
    book = PriceBook.load()
    for number in range(4_200):
        name = f"ft:gpt-4o-2024-08-06:org::{number}"
        request = Request(provider="openai", operation="chat", model=name, max_output_tokens=1)
        use(book, request, name, ceiling=False)
    assert max(len(book._rates), len(book._bounds), len(book._steps)) <= 4_096


def test_a_huge_name_is_not_kept(book: PriceBook) -> None:
    name = "ft:gpt-4o-2024-08-06:" + "x" * 1_000_000
    request = Request(provider="openai", operation="chat", model=name, max_output_tokens=1)
    assert book.bound(request, NOW).amount_nanousd
    assert book.rate(request, Response(), USAGE, NOW).amount_nanousd
    kept = [repr(key) for memo in (book._rates, book._bounds, book._steps) for key in memo]
    assert max(map(len, kept)) < 10_000
