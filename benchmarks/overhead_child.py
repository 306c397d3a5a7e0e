"""Measures one family in this process and prints the figures as JSON; see `overhead`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType

import msgspec

from benchmarks import cputime, opcodes
from benchmarks.client import LONG_STREAM, USAGE_IS_LAST, Clients, Request, request
from benchmarks.families import BY_NAME, Family, Running
from benchmarks.opcodes import ROOT_PART, Count
from benchmarks.overhead import COUNTED, TIMED, Added, FamilyResult
from benchmarks.parts import CLIENT, TABLE, parts

ROUNDS, PAIRS, STREAM_PAIRS = 7, 60, 12
WARM_UP_CALLS = 30

REQUESTS: dict[str, Callable[[], Request]] = {
    "sync": request,
    "async": request,
    "stream": lambda: request(stream=True),
    "async_stream": lambda: request(stream=True),
    "stream_asked": lambda: request(
        stream=True, stream_options={"include_usage": True}, extra_headers=USAGE_IS_LAST
    ),
    "stream_long": lambda: request(stream=True, extra_headers=LONG_STREAM),
    "async_stream_long": lambda: request(stream=True, extra_headers=LONG_STREAM),
    "messages_20": lambda: request(messages=20),
    "tools_10": lambda: request(tools=10),
    "memo_miss": request,
}


class Bench:
    """Measures the shapes of one family, bare and wrapped in turn."""

    def __init__(self, running: Running, loop: asyncio.AbstractEventLoop) -> None:
        self._running = running
        self._loop = loop
        self._bare = Clients(is_bare=True)
        self._wrapped = Clients(is_bare=False)
        self._parts: dict[CodeType, str] = parts() if running.installed is not None else {}

    def count(self, shape: str) -> Added:
        """Count what is added to a shape, in a steady state."""
        asked = REQUESTS[shape]()
        if shape.startswith("async"):
            bare, wrapped = self._loop.run_until_complete(self._count_async(asked))
        else:
            bare, wrapped = self._count(asked, is_miss=shape == "memo_miss")
        self._running.flush()
        return _added(bare, wrapped)

    def time(self, shape: str) -> cputime.Cpu:
        """Time what is added to a shape."""
        asked = REQUESTS[shape]()
        pairs = STREAM_PAIRS if asked.get("stream") else PAIRS
        flush = self._running.flush
        if shape.startswith("async"):
            return self._loop.run_until_complete(
                cputime.measure_async(
                    self._bare.call_async(asked),
                    self._wrapped.call_async(asked),
                    rounds=ROUNDS,
                    pairs=pairs,
                    flush=flush,
                )
            )
        return cputime.measure(
            self._bare.call(asked),
            self._wrapped.call(asked),
            rounds=ROUNDS,
            pairs=pairs,
            flush=flush,
        )

    def _count(self, asked: Request, *, is_miss: bool) -> tuple[Count, Count]:
        bare, wrapped = self._bare.call(asked), self._wrapped.call(asked)
        for _ in range(_warm_ups(asked)):
            bare()
            wrapped()
        return opcodes.count(bare), opcodes.count(
            wrapped, self._parts, self._running.forget if is_miss else None
        )

    async def _count_async(self, asked: Request) -> tuple[Count, Count]:
        bare, wrapped = self._bare.call_async(asked), self._wrapped.call_async(asked)
        for _ in range(_warm_ups(asked)):
            await bare()
            await wrapped()
        return await opcodes.count_async(bare), await opcodes.count_async(wrapped, self._parts)


def _warm_ups(asked: Request) -> int:
    return 3 if "extra_headers" in asked else WARM_UP_CALLS


def _added(bare: Count, wrapped: Count) -> Added:
    found = {part: wrapped.parts[part] for part in TABLE if wrapped.parts.get(part)}
    if found:
        found[CLIENT] = wrapped.parts[CLIENT] + wrapped.parts[ROOT_PART] - bare.bytecodes
    return Added(
        bare_bytecodes=bare.bytecodes,
        bytecodes=wrapped.bytecodes - bare.bytecodes,
        entries=wrapped.entries - bare.entries,
        parts=found,
        is_steady=bare.is_steady and wrapped.is_steady,
    )


def measure(family: Family, shapes: list[str], *, cpu: bool) -> FamilyResult:
    """Measure shapes of one family in this process, which is spoilt for others afterwards."""
    found: dict[str, Added] = {}
    loop = asyncio.new_event_loop()
    with TemporaryDirectory() as folder:
        running = Running(family, Path(folder))
        try:
            bench = Bench(running, loop)
            for shape in shapes:
                if shape == "memo_miss" and running.installed is None:
                    continue
                found[shape] = bench.count(shape)
                if cpu and shape in TIMED:
                    found[shape].cpu = bench.time(shape)
        finally:
            running.close()
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
    return FamilyResult(family=family.name, title=family.title, shapes=found)


def main() -> None:
    """Measure one family."""
    parser = argparse.ArgumentParser()
    parser.add_argument("family", choices=sorted(BY_NAME))
    parser.add_argument("--shapes", default=",".join(COUNTED))
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    result = measure(BY_NAME[asked.family], asked.shapes.split(","), cpu=asked.cpu)
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
