"""Sees what an SDK is told of jobs, by whatever method: what has ended is settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._jobs import JobDesk, JobEnd
from tollspan.instrumentation._stream import is_async_stream
from tollspan.safety import Guard

from ._raw import answer_of
from ._sdk import Gatherer, JobPath, Sdk

# Where the SDKs' own streams, of events or of lines, have what gives them.
_SOURCE = "_iterator"


class JobSight:
    """Looks at what an SDK's requests for jobs are answered. The program gets the same answer.

    Args:
        sdk: Which one.
        hosts: Whose jobs they are, by host.
    """

    def __init__(self, sdk: Sdk, hosts: HostTable) -> None:
        self._paths = sdk.jobs
        self._hosts = hosts
        self._guard = Guard(f"{sdk.package}.jobs")

    def see(self, desk: JobDesk | None, client: Any, options: Any, result: object) -> None:
        """Settle what an answer says has ended; a streamed one, once it was read to its end."""
        with self._guard:
            end = self._look(desk, client, options, result)
            if desk is not None and end is not None:
                desk.see(*end)

    async def see_async(
        self, desk: JobDesk | None, client: Any, options: Any, result: object
    ) -> None:
        """Do as `see` does, without blocking the event loop."""
        with self._guard:
            end = self._look(desk, client, options, result)
            if desk is not None and end is not None:
                await desk.see_async(*end)

    def _look(
        self, desk: JobDesk | None, client: Any, options: Any, result: object
    ) -> tuple[str, JobEnd] | None:
        found = self._find(options) if desk is not None else None
        if desk is None or found is None:
            return None
        path, job_id = found
        provider = self._hosts.route(client.base_url).provider
        if hasattr(result, _SOURCE):
            if path.gather is not None:
                self._watch(desk, provider, result, path.gather(job_id))
            return None
        answer = answer_of(result)
        end = path.read(answer) if path.read is not None and answer is not None else None
        return None if end is None else (provider, end)

    def _find(self, options: Any) -> tuple[JobPath, str] | None:
        method = str(options.method).lower()
        where: str | None = None
        for path in self._paths:
            if path.method == method:
                where = where or urlsplit(str(options.url)).path.rstrip("/")
                match = path.path.search(where)
                if match is not None:
                    return path, match.group(1)
        return None

    def _watch(self, desk: JobDesk, provider: str, result: Any, gatherer: Gatherer) -> None:
        """Stand in for what gives a stream's parts; the stream stays the SDK's own object."""

        def ended() -> JobEnd | None:
            with self._guard:
                return gatherer.end()
            return None

        def feed(item: object) -> None:
            with self._guard:
                gatherer.feed(item)

        source = getattr(result, _SOURCE)
        if is_async_stream(result):

            async def settle_async() -> None:
                end = ended()
                if end is not None:
                    await desk.see_async(provider, end)

            setattr(result, _SOURCE, _passed_async(source, feed, settle_async))
        else:

            def settle() -> None:
                end = ended()
                if end is not None:
                    desk.see(provider, end)

            setattr(result, _SOURCE, _passed(source, feed, settle))


def _passed(
    source: Iterator[object], feed: Callable[[object], None], settle: Callable[[], None]
) -> Iterator[object]:
    for item in source:
        feed(item)
        yield item
    settle()


async def _passed_async(
    source: AsyncIterator[object],
    feed: Callable[[object], None],
    settle: Callable[[], Awaitable[None]],
) -> AsyncIterator[object]:
    async for item in source:
        feed(item)
        yield item
    await settle()
