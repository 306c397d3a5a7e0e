"""What the tests of this folder stand on: clients of a fake provider, and what was booked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI, AsyncStream, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.calls import MODEL, PROMPT
from tollspan.launch import Installed
from tollspan.usage import UsageEvent

_T = TypeVar("_T")
PATIENCE_SECONDS = 5.0


class Stage:
    """A fake provider, tollspan in this process, and the books."""

    def __init__(self, *, fake: FakeOpenAI, home: Path, installed: Installed) -> None:
        self.fake = fake
        self.home = home
        self.installed = installed
        self._clients = contextlib.ExitStack()

    def client(self, **options: Any) -> OpenAI:
        """Return a client that does not retry unless told to."""
        asked: dict[str, Any] = {"base_url": self.fake.base_url, "max_retries": 0, **options}
        return self._clients.enter_context(OpenAI(api_key="key", **asked))

    def async_client(self, **options: Any) -> AsyncOpenAI:
        """Do as `client` does; the caller closes it."""
        asked: dict[str, Any] = {"base_url": self.fake.base_url, "max_retries": 0, **options}
        return AsyncOpenAI(api_key="key", **asked)

    def run(self, work: Callable[[AsyncOpenAI], Awaitable[_T]], **options: Any) -> _T:
        """Run asynchronous work with a client of its own."""

        async def main() -> _T:
            async with self.async_client(**options) as client:
                return await work(client)

        return asyncio.run(main())

    def close(self) -> None:
        """Close the clients."""
        self._clients.close()

    def settle(self) -> None:
        """Wait until whatever was put off is done."""
        self.installed.lifecycle.worker.drain(PATIENCE_SECONDS)

    def events(self) -> list[UsageEvent]:
        """Return what was booked, in order of arrival."""
        self.settle()
        return harness.usage_events(self.home)

    def event(self) -> UsageEvent:
        """Return the one event, and see that its hold is gone and its charge is in the account."""
        (event,) = self.events()
        balance = harness.balance(self.home)
        assert balance.held == 0
        assert balance.posted == sum(one.posted for one in event.charges)
        assert balance.unresolved == sum(one.unresolved for one in event.charges)
        assert event.cost.amount_nanousd is None or (event.cost.amount_nanousd == balance.posted)
        return event

    @property
    def open_streams(self) -> int:
        """How many streams have no end yet."""
        return len(self.installed.lifecycle.open_streams)


async def ask(client: AsyncOpenAI, **options: Any) -> ChatCompletion:
    """Ask for a chat completion."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **options}
    return cast("ChatCompletion", await cast("Any", client.chat.completions.create)(**asked))


async def ask_stream(client: AsyncOpenAI, **options: Any) -> AsyncStream[ChatCompletionChunk]:
    """Ask for a streamed chat completion."""
    return cast("AsyncStream[ChatCompletionChunk]", await ask(client, stream=True, **options))
