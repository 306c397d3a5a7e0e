"""Resident memory over many calls, streams among them, in a process of its own.

The SDK's request is replaced by one that returns a ready answer, so that nearly all the time goes
into tollspan and OpenTelemetry: a million calls take minutes.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from benchmarks.overhead import ROOT

CALLS = 100_000
_WARM_UP: Final = 5_000
_STREAM_EVERY: Final = 10
_STREAM_CHUNKS: Final = 11
_SAMPLES: Final = 10
_MIB: Final = 1 << 20


class MemoryResult(msgspec.Struct, kw_only=True):
    """Resident memory in MiB.

    Attributes:
        calls, streams: How many calls were made, and how many of them were streams.
        added_mib: After all calls, beyond the process with OpenTelemetry and the OpenAI SDK loaded.
        warm_up_mib: The part of it that was there after the first calls.
        growth_mib: What came on top of that.
        samples_mib: `added_mib` on the way, at equal distances.
    """

    calls: int
    streams: int
    added_mib: float
    warm_up_mib: float
    growth_mib: float
    samples_mib: list[float]
    seconds: float


def measure(calls: int = CALLS) -> MemoryResult:
    """Measure in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", "--calls", str(calls)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=MemoryResult)


class _Stream:
    """A stream whose chunks are there."""

    def __init__(self, chunks: list[Any]) -> None:
        self._iterator = iter(chunks)

    def __iter__(self) -> Iterator[Any]:
        return self._iterator

    def __next__(self) -> Any:
        return next(self._iterator)

    def close(self) -> None:
        """Do nothing."""


def _replace_sdk() -> None:
    """Put ready answers in the place of requests."""
    from openai._base_client import SyncAPIClient
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from benchmarks.client import answer, chunk_objects

    whole = ChatCompletion.model_validate(answer())
    chunks = [
        ChatCompletionChunk.model_validate(one) for one in chunk_objects(_STREAM_CHUNKS, usage=True)
    ]

    def send(self: SyncAPIClient, *args: object, **kwargs: object) -> object:
        return _Stream(chunks) if kwargs.get("stream") else whole

    SyncAPIClient.request = send  # type: ignore[method-assign, assignment]  # it is the point


def _measure_here(calls: int) -> MemoryResult:
    _replace_sdk()
    from benchmarks.client import Clients, request
    from benchmarks.families import BY_NAME, Running

    plain, streamed = request(), request(stream=True)
    _round(Clients(is_bare=True), plain, streamed, 1_000)
    before = _resident()
    started_at = time.monotonic()
    with TemporaryDirectory() as folder:
        running = Running(BY_NAME["tollspan_all_5"], Path(folder))
        clients = Clients(is_bare=False)
        try:
            _round(clients, plain, streamed, min(_WARM_UP, calls))
            running.flush()
            warm = _resident()
            samples: list[float] = []
            for _ in range(_SAMPLES):
                for _ in range(calls // _SAMPLES // 1_000):
                    _round(clients, plain, streamed, 1_000)
                    running.flush()
                samples.append((_resident() - before) / _MIB)
        finally:
            running.close()
    return MemoryResult(
        calls=calls,
        streams=calls // _STREAM_EVERY,
        added_mib=samples[-1],
        warm_up_mib=(warm - before) / _MIB,
        growth_mib=samples[-1] - (warm - before) / _MIB,
        samples_mib=samples,
        seconds=time.monotonic() - started_at,
    )


def _round(clients: Any, plain: dict[str, Any], streamed: dict[str, Any], calls: int) -> None:
    call, stream = clients.call(plain), clients.call(streamed)
    for number in range(calls):
        if number % _STREAM_EVERY:
            call()
        else:
            stream()


def _resident() -> int:
    """Return the process's resident bytes; where only the peak is known, that."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def main() -> None:
    """Measure here, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=CALLS)
    sys.stdout.buffer.write(msgspec.json.encode(_measure_here(parser.parse_args().calls)))


if __name__ == "__main__":
    main()
