"""The gate of batches: their requests are bounded one by one, and let through together or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue

from tollspan.budget import Change, is_asyncio
from tollspan.instrumentation._batch_files import (
    MOST_LINES,
    UNKNOWN_FILE,
    lines_of_note,
    unknown,
)
from tollspan.instrumentation._batch_shapes import Group, Line, groups_of
from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._job_streams import AcceptedJob
from tollspan.instrumentation._run import Failure, StreamProxies
from tollspan.instrumentation._shapes import UNREAD, Reading, StreamReader, text
from tollspan.instrumentation._spans import SpanEmitter
from tollspan.safety import Guard
from tollspan.usage import CallDeniedError, Request, Response, Usage

from ._asked import Asked
from ._failures import read_failure
from ._others import PathOthers
from ._raw import answer_of
from ._sdk import ApiPath, Sdk

_logger = logging.getLogger("tollspan.instrumentation")


class GroupExtractor:
    """Reads the requests of a batch that are let through as one call.

    Args:
        group: These requests.
        part: Numbers the batch's groups.
        is_whole: There is no other group.
        lifecycle: Takes the call through its life.
        spans: Starts its span.
        others: Finds out who else makes one.
    """

    is_free = False

    def __init__(
        self,
        group: Group,
        part: int,
        *,
        is_whole: bool,
        lifecycle: Lifecycle,
        spans: SpanEmitter,
        others: PathOthers,
    ) -> None:
        self._group = group
        self._part = part
        self._lines = () if is_whole else tuple([line.name for line in group.lines])
        self._lifecycle = lifecycle
        self.spans = spans
        self.others = others

    def request(self, asked: Asked) -> Request:
        """Return what they ask together."""
        return asked.apply_ours(self._group.request)

    def details(self, asked: Asked) -> Mapping[str, AttributeValue] | None:  # noqa: ARG002
        """Return nothing: a batch has no temperature."""
        return None

    def turn(self, asked: Asked) -> list[str] | None:  # noqa: ARG002
        """Return None: nobody talks in a batch."""
        return None

    def prepare(self, request: Request, asked: Asked) -> None:
        """Change nothing."""

    def change(self, change: Change, asked: Asked) -> bool:  # noqa: ARG002
        """Say that a batch goes out as it is, or not."""
        return False

    def as_asked(self, error: Exception, asked: Asked) -> bool:  # noqa: ARG002
        """Say that nothing was changed."""
        return False

    def again(self, error: Exception, asked: Asked) -> bool:  # noqa: ARG002
        """Say that nothing was changed."""
        return False

    def result(self, result: object) -> Reading:
        """Read the answer: the batch's id, and nothing of what it will use."""
        id_ = getattr(answer_of(result), "id", None)
        if not isinstance(id_, str) or not id_:
            return UNREAD
        return Reading(Usage(status="unknown"), Response(id=id_))

    def stream(self, request: Request, result: object, asked: Asked) -> StreamReader | None:  # noqa: ARG002
        """Take the answer of a batch that was accepted."""
        reading = self.result(result)
        desk = self._lifecycle.desk
        if desk is None or reading.response.id is None:
            return None
        return AcceptedJob(desk, self._lifecycle, reading, self._part, self._lines)

    def failure(self, error: BaseException) -> Failure:
        """Read an exception; where another group was refused, nothing was sent."""
        if isinstance(error, CallDeniedError):
            return Failure("denied", error.error_type, is_maybe_billed=False)
        return read_failure(error)


class BatchDoor:
    """Lets one SDK's batches through the gate.

    Args:
        sdk: Which one.
        lifecycle: Takes calls through their life.
        hosts: Whose batches they are, by host.
        spans: Starts their spans.
    """

    def __init__(
        self, sdk: Sdk, lifecycle: Lifecycle, hosts: HostTable, spans: SpanEmitter
    ) -> None:
        self._paths = {
            path.path: (path, PathOthers(sdk, path)) for path in sdk.paths if path.is_batch
        }
        self._lifecycle = lifecycle
        self._hosts = hosts
        self._spans = spans
        self._guard = Guard(f"{sdk.package}.batches")

    def path_of(self, options: Any) -> str | None:
        """Return the path of a request that begins a batch; None for any other."""
        if str(options.method).lower() != "post":
            return None
        path = "/" + urlsplit(str(options.url)).path.strip("/")
        return next((known for known in self._paths if path.endswith(known)), None)

    def call(
        self,
        path: str,
        asked: Asked,
        proxies: StreamProxies,
        wrapped: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Begin a batch: each group of its requests is a call around the next."""
        for extractor, lifecycle in reversed(self._calls(path, asked)):
            wrapped = _around(lifecycle, extractor, proxies, asked, wrapped)
        return wrapped(*args, **kwargs)

    async def call_async(
        self,
        path: str,
        asked: Asked,
        proxies: StreamProxies,
        wrapped: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Do as `call` does, without blocking the event loop for an authority."""
        for extractor, lifecycle in reversed(await self._calls_async(path, asked)):
            wrapped = _around_async(lifecycle, extractor, proxies, asked, wrapped)
        return await wrapped(*args, **kwargs)

    def _calls(self, path: str, asked: Asked) -> Sequence[tuple[GroupExtractor, Lifecycle]]:
        """Return the calls that a batch is; none where we fail to read it, and it goes on."""
        with self._guard:
            asked.take_ours()
            known, others = self._paths[path]
            groups = groups_of(self._lines(known, asked))
            return [
                (
                    GroupExtractor(
                        group,
                        part,
                        is_whole=len(groups) == 1,
                        lifecycle=self._lifecycle,
                        spans=self._spans,
                        others=others,
                    ),
                    self._for(group),
                )
                for part, group in enumerate(groups)
            ]
        return ()

    async def _calls_async(
        self, path: str, asked: Asked
    ) -> Sequence[tuple[GroupExtractor, Lifecycle]]:
        """Do as `_calls` does; a file's note is read in another thread."""
        if self._paths[path][0].batch_file is None or not is_asyncio():
            return self._calls(path, asked)
        return await asyncio.to_thread(self._calls, path, asked)

    def _lines(self, path: ApiPath, asked: Asked) -> Sequence[Line]:
        """Read the requests: of the body, or what was noted of the file that it names."""
        body, route = asked.body(), self._hosts.route(asked.client.base_url)
        if path.batch is not None:
            return path.batch(body, route)
        desk, file_id = self._lifecycle.desk, text(body.get(path.batch_file or "")) or ""
        found = None if desk is None else lines_of_note(desk.files.get(route.provider, file_id))
        if found is not None:
            return found
        _logger.warning(
            "no process of this host has uploaded or read the file %s: tollspan takes the batch for"
            " %d requests to the dearest model. Read it before, with files.content(), to have it"
            " bounded by its lines",
            file_id,
            MOST_LINES,
        )
        return [Line("", unknown(route, UNKNOWN_FILE, MOST_LINES))]

    def _for(self, group: Group) -> Lifecycle:
        """Return a life cycle whose gate bounds each request of a group."""
        lifecycle = copy(self._lifecycle)
        lifecycle.gate = lifecycle.gate.summed([line.request for line in group.lines])
        return lifecycle


def _around(
    lifecycle: Lifecycle,
    extractor: GroupExtractor,
    proxies: StreamProxies,
    asked: Asked,
    wrapped: Callable[..., object],
) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        return lifecycle.call(extractor, proxies, asked, wrapped, args, kwargs)

    return call


def _around_async(
    lifecycle: Lifecycle,
    extractor: GroupExtractor,
    proxies: StreamProxies,
    asked: Asked,
    wrapped: Callable[..., Awaitable[object]],
) -> Callable[..., Awaitable[object]]:
    def call(*args: object, **kwargs: object) -> Awaitable[object]:
        return lifecycle.call_async(extractor, proxies, asked, wrapped, args, kwargs)

    return call
