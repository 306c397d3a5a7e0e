"""Programs that spend: many calls of the real SDK at once, and what became of each."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import msgspec
from openai import AsyncOpenAI, OpenAI

from tests.fakes.replies import FAKE_HEADER
from tollspan.api import BudgetExceededError, CallDeniedError
from tollspan.launch import install_or_raise, read_settings, uninstall

MODEL = "gpt-4o-mini"
MAX_TOKENS = 20


class Tally(msgspec.Struct, kw_only=True):
    """What became of calls, by the number that each had in its prompt.

    Attributes:
        answered: The provider answered.
        refused: The budget was too small.
        failed: Anything else, with its text; a gate that was not available, too.
    """

    answered: list[int] = []
    refused: list[int] = []
    failed: dict[int, str] = {}

    def note(self, number: int, error: BaseException | None) -> None:
        """Note how a call ended; lists take appends from any thread."""
        if error is None:
            self.answered.append(number)
        elif isinstance(error, BudgetExceededError):
            self.refused.append(number)
        else:
            self.failed[number] = f"{type(error).__name__}: {error}"

    def add(self, other: Tally) -> None:
        """Add another program's tally."""
        self.answered += other.answered
        self.refused += other.refused
        self.failed |= other.failed


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What one program is to do.

    Attributes:
        base_url: Where the provider is.
        threads: How many threads call at once.
        calls: How many calls each makes.
        first: The number of the first call.
        replies: JSON of the fake's replies, taken in turn; none: its default.
        pace_seconds: Calls of a thread start at least so far apart; like traffic, that does not
            come faster because some of it is refused.
        prompt_bytes: How long each prompt is.
        environ: Settings of a process of its own.
    """

    base_url: str
    threads: int
    calls: int
    first: int = 0
    replies: tuple[dict[str, Any], ...] = ()
    pace_seconds: float = 0.0
    prompt_bytes: int = 8
    environ: dict[str, str] = {}


def prompt(number: int, size: int) -> str:
    """Return a text of a fixed length that says which call it is."""
    return f"{number:08d}".ljust(size, ".")


def ask(client: OpenAI, number: int, *, size: int, reply: object = None) -> None:
    """Make one call."""
    client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": prompt(number, size)}],
        max_tokens=200 if reply else MAX_TOKENS,
        extra_headers={FAKE_HEADER: json.dumps(reply)} if reply else {},
    )


def spend_in_threads(order: Order, start: Callable[[], object] = lambda: None) -> Tally:
    """Make the calls of an order in threads that start together."""
    tally = Tally()
    client = OpenAI(base_url=order.base_url, api_key="sk-test", timeout=60, max_retries=0)
    barrier = threading.Barrier(order.threads + 1)

    def work(numbers: Sequence[int]) -> None:
        barrier.wait()
        due = time.monotonic()
        for number in numbers:
            reply = order.replies[number % len(order.replies)] if order.replies else None
            try:
                ask(client, number, size=order.prompt_bytes, reply=reply)
            except Exception as error:
                tally.note(number, error)
            else:
                tally.note(number, None)
            due += order.pace_seconds
            time.sleep(max(0.0, due - time.monotonic()))

    threads = [
        threading.Thread(target=work, args=(range(first, first + order.calls),))
        for first in range(order.first, order.first + order.threads * order.calls, order.calls)
    ]
    for thread in threads:
        thread.start()
    start()
    barrier.wait()
    for thread in threads:
        thread.join()
    client.close()
    return tally


async def spend_in_tasks(base_url: str, numbers: Iterable[int], prompt_bytes: int) -> Tally:
    """Make every call in a task of its own, all at once."""
    tally = Tally()
    async with AsyncOpenAI(
        base_url=base_url, api_key="sk-test", timeout=60, max_retries=0
    ) as client:

        async def work(number: int) -> None:
            try:
                await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": prompt(number, prompt_bytes)}],
                    max_tokens=MAX_TOKENS,
                )
            except CallDeniedError as error:
                tally.note(number, error)
            except Exception as error:
                tally.note(number, error)
            else:
                tally.note(number, None)

        await asyncio.gather(*(work(number) for number in numbers))
    return tally


def spend_in_processes(home: Path, orders: Sequence[Order]) -> Tally:
    """Do each order in a process of its own, all starting at the same instant; add them up."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openai", "tollspan.launch", __name__])
    barrier = context.Barrier(len(orders))
    with ExitStack() as stack:
        programs = []
        for order in orders:
            ours, theirs = context.Pipe(duplex=False)
            program = context.Process(target=_spend_alone, args=(home, order, barrier, theirs))
            program.start()
            theirs.close()
            stack.callback(program.close)
            programs.append((program, stack.enter_context(ours)))
        tally = Tally()
        for program, ours in programs:
            tally.add(msgspec.json.decode(ours.recv_bytes(), type=Tally))
            program.join(30)
            assert program.exitcode == 0
    return tally


def _spend_alone(home: Path, order: Order, barrier: Barrier, answer: Connection) -> None:
    """Be one of the processes."""
    install_or_raise(read_settings({"TOLLSPAN_HOME": str(home), **order.environ}))
    tally = spend_in_threads(order, barrier.wait)
    uninstall()
    answer.send_bytes(msgspec.json.encode(tally))
    answer.close()
