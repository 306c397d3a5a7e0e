"""Reads what passes on a path whose answers may be that a call was accepted as a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._job_streams import AcceptedJob, JobStream, is_open
from tollspan.instrumentation._shapes import StreamReader
from tollspan.instrumentation._spans import SpanEmitter
from tollspan.instrumentation._stream import (
    AsyncStream,
    AsyncStreamProxy,
    SyncStream,
    SyncStreamProxy,
    Watch,
    is_async_stream,
)
from tollspan.usage import Request

from ._asked import Asked
from ._extractor import PathExtractor
from ._sdk import ApiPath, Sdk


class JobExtractor(PathExtractor):
    """Reads one path; of what its bodies ask to be done as a job, it reads how far that is.

    Args:
        sdk, path, hosts, spans: As in `PathExtractor`.
        lifecycle: Takes the calls through their life.
        asks_for_job: Says of a body that it asks for a job.
    """

    def __init__(
        self,
        sdk: Sdk,
        path: ApiPath,
        hosts: HostTable,
        spans: SpanEmitter,
        lifecycle: Lifecycle,
        asks_for_job: Callable[[Mapping[str, object]], bool],
    ) -> None:
        super().__init__(sdk, path, hosts, spans)
        self._lifecycle = lifecycle
        self._asks_for_job = asks_for_job

    def stream(self, request: Request, result: object, asked: Asked) -> StreamReader | None:
        """Watch a stream, and what is accepted as a job."""
        reader = PathExtractor.stream(self, request, result, asked)
        desk = self._lifecycle.desk
        options = asked.options
        if desk is None or not self._asks_for_job(
            asked.body() if options.extra_json else options.json_data
        ):
            return reader
        if reader is None:
            reading = self.result(result)
            return AcceptedJob(desk, self._lifecycle, reading) if is_open(reading) else None
        return JobStream(desk, self._lifecycle, reader, _proxy)


def _proxy(result: object, watch: Watch) -> object:
    if is_async_stream(result):
        return AsyncStreamProxy(cast("AsyncStream", result), watch)
    return SyncStreamProxy(cast("SyncStream", result), watch)
