"""Reads a file of results as the program does, piece by piece: its end settles the batch."""

from __future__ import annotations

from tollspan.instrumentation._jobs import JobDesk, JobEnd
from tollspan.safety import Guard
from tollspan.usage import OutcomeStatus

from ._raw import Content, HttpResponse, Tee
from ._sdk import FileResults


class FileStream:
    """Gathers the lines of a response that is still to be read; nothing is kept of its bytes.

    Args:
        desk: Settles what the lines say.
        provider: Whose file it is.
        results: Gathers them.
        response: The HTTP library's.
    """

    def __init__(
        self, desk: JobDesk, provider: str, results: FileResults, response: HttpResponse
    ) -> None:
        self._desk = desk
        self._provider = provider
        self._results = results
        self._response = response
        self._content = Content(str(response.headers.get("content-encoding", "")))
        self._rest = b""
        self._is_done = False
        self._guard = Guard("instrumentation.files")

    def attach(self) -> None:
        """Stand in for the response's byte stream, where its bytes can be read at all."""
        if self._content.is_readable:
            self._response.stream = Tee(self._response.stream, self, self)

    def feed(self, data: bytes) -> None:
        """Take note of the lines that are complete."""
        with self._guard:
            *lines, self._rest = (self._rest + self._content.decode(data)).split(b"\n")
            for line in lines:
                self._results.feed(line)

    def is_whole(self) -> bool:
        """Say that only the end of the stream is the end of the file."""
        return False

    def finish(self, status: OutcomeStatus, error: BaseException | None = None) -> None:  # noqa: ARG002
        """Settle, where the file was read to its end."""
        end = self._end(status)
        if end is not None:
            self._desk.see(self._provider, end)

    async def finish_async(self, status: OutcomeStatus, error: BaseException | None = None) -> None:  # noqa: ARG002
        """Do as `finish` does, without blocking the event loop."""
        end = self._end(status)
        if end is not None:
            await self._desk.see_async(self._provider, end)

    def finish_soon(self, status: OutcomeStatus, error: BaseException | None = None) -> None:
        """Do nothing: a file that was not read to its end settles nothing."""

    def _end(self, status: OutcomeStatus) -> JobEnd | None:
        if self._is_done or status != "ok":
            return None
        self._is_done = True
        with self._guard:
            self._results.feed(self._rest)
            return self._results.end()
        return None
