"""What one SDK is to the funnel: its names, its paths, and who else wraps its methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tollspan.instrumentation._batch_files import OutputNote
from tollspan.instrumentation._batch_shapes import Line
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._jobs import JobEnd
from tollspan.instrumentation._shapes import Shape


class Sightings(Protocol):
    """Where is counted what should not happen, or is not covered yet: `doctor` shows it."""

    def __call__(self, kind: str, name: str) -> None:
        """Count it; must not block."""
        ...


BatchReader = Callable[[Mapping[str, object], Route], Sequence[Line]]
"""From the body that begins a batch, and where it is sent, to its requests."""


class ApiPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path of the API that the gate knows.

    Attributes:
        path: As the SDK's own methods post to it.
        shape: Makes the shape of its requests and answers.
        methods: What people call, `chat.completions.create` say; for the docs.
        owners: Module, class and method of what other instrumentors wrap around it.
        asks_for_usage: Its streams say their usage only when asked.
        asks_for_job: Says of a body that its answer may only be that it was accepted as a job.
        batch: Reads the requests of a batch that begins there; None where none does.
        batch_file: Names the field of a body that names the file of a batch's requests, where they
            are not in the body; None elsewhere.
        turns: Where a body has what was said in turn; None where nobody talks.
    """

    path: str
    shape: Callable[[], Shape]
    methods: tuple[str, ...]
    owners: tuple[tuple[str, str, str], ...]
    asks_for_usage: bool = False
    asks_for_job: Callable[[Mapping[str, object]], bool] | None = None
    batch: BatchReader | None = None
    batch_file: str | None = None
    turns: str | None = None

    @property
    def is_batch(self) -> bool:
        """Whether what is posted there begins a batch."""
        return self.batch is not None or self.batch_file is not None


class Gatherer(Protocol):
    """Gathers what passes of a streamed answer that tells of a job."""

    def feed(self, item: object) -> None:
        """Take note of one event, or line."""
        ...

    def end(self) -> JobEnd | None:
        """Say what the whole of it said of the job's end; None where it did not end."""
        ...


class JobPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path where the SDK asks what has become of a job.

    Attributes:
        method: Of HTTP, in small letters.
        path: Matches the end of a URL's path; its first group is the job's id.
        read: Says of a whole answer whether the job has ended; None where it never says so.
        gather: Makes what gathers a streamed answer, from the job's id; None where none is.
    """

    method: str
    path: re.Pattern[str]
    read: Callable[[Any], JobEnd | None] | None = None
    gather: Callable[[str], Gatherer] | None = None


class BatchShown(msgspec.Struct, frozen=True):
    """What an answer shows of a batch that has ended.

    Attributes:
        output: File of results, and what is known of it; None where there are no results.
        end: What it says of the batch's end, where that is all that there is to say.
    """

    output: tuple[str, OutputNote] | None = None
    end: JobEnd | None = None


class FileResults(Protocol):
    """Gathers the lines of a file of results."""

    def feed(self, line: bytes) -> None:
        """Take note of a line."""
        ...

    def end(self) -> JobEnd | None:
        """Say what each call of the batch used; None where lines are missing."""
        ...


class BatchFiles(msgspec.Struct, frozen=True, kw_only=True):
    """How an SDK gives batches as files, and gets files for what became of them.

    Attributes:
        uploads: Matches the path of a request that uploads a file.
        is_batch: Says of the body of such a request that the file has a batch's requests.
        contents: Matches the path of a request for what is in a file; its first group is the id.
        shows: Matches the path of a request that is answered with batches.
        read_line: From a line of a file of requests, and where it is sent, to a request; None for
            what costs nothing.
        is_request: Says of the first line of a file whether it is one of requests.
        shown: From such an answer to the batches that have ended.
        results: Makes what gathers the lines of a file of results.
    """

    uploads: re.Pattern[str]
    is_batch: Callable[[Mapping[str, object]], bool]
    contents: re.Pattern[str]
    shows: re.Pattern[str]
    read_line: Callable[[bytes, Route], Line | None]
    is_request: Callable[[bytes], bool]
    shown: Callable[[Any], Iterable[BatchShown]]
    results: Callable[[OutputNote], FileResults]


class Sdk(msgspec.Struct, frozen=True, kw_only=True):
    """One SDK.

    Attributes:
        package: The name to import.
        provider: Whose calls they are where the host says nothing.
        hosts: Host, or `host:port`, → provider.
        clients: Names of the package's client classes, which others override methods in.
        paths: What is gated.
        jobs: Where it asks for jobs.
        files: How its batches are files; None where they are not.
        billable: From method and URL to the path of what may cost money, else None.
        stream_source: Finds what gives a stream's chunks one by one: itself, or what it has inside.
        has_native_span: Says of a client whether the SDK makes spans itself.
        sockets: Modules whose classes `connect` to a WebSocket, which does not pass the funnel.
        left_out: Names a client that is not metered, though it has the same paths.
    """

    package: str
    provider: str
    hosts: dict[str, str]
    clients: tuple[str, ...]
    paths: tuple[ApiPath, ...]
    billable: Callable[[str, str], str | None]
    stream_source: Callable[[Any], Any]
    jobs: tuple[JobPath, ...] = ()
    files: BatchFiles | None = None
    has_native_span: Callable[[Any], bool] | None = None
    sockets: tuple[str, ...] = ()
    left_out: Callable[[Any], str | None] | None = None
