"""Sees the files of batches pass: what is asked in them before, and what became of it after."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from tollspan.budget import is_asyncio
from tollspan.instrumentation._batch_files import (
    note_of_lines,
    note_of_output,
    output_of_note,
)
from tollspan.instrumentation._hosts import HostTable, Route
from tollspan.instrumentation._jobs import JobDesk, JobEnd
from tollspan.instrumentation._shapes import text
from tollspan.safety import Guard

from ._file_stream import FileStream
from ._raw import HttpResponse, answer_of, http_response
from ._sdk import BatchFiles, Sdk

_WHOLE = 200  # a part of a file, say, would be 206


class FileSight:
    """Looks at what an SDK uploads and reads for its batches. The program gets the same answers.

    Args:
        sdk: Which one.
        hosts: Whose files they are, by host.
    """

    def __init__(self, sdk: Sdk, hosts: HostTable) -> None:
        self._files = sdk.files
        self._hosts = hosts
        self._guard = Guard(f"{sdk.package}.files")

    def before(self, desk: JobDesk | None, client: Any, options: Any) -> bytes | None:
        """Return what to note of a file of requests that is going to be uploaded; None for any."""
        with self._guard:
            read = self._upload(desk, client, options)
            return None if read is None else read()
        return None

    async def before_async(self, desk: JobDesk | None, client: Any, options: Any) -> bytes | None:
        """Do as `before` does, without blocking the event loop."""
        with self._guard:
            read = self._upload(desk, client, options)
            return None if read is None else await _elsewhere(read)
        return None

    def see(
        self, desk: JobDesk | None, client: Any, options: Any, result: object, note: bytes | None
    ) -> None:
        """Note what an answer says of files, and settle what it says has ended.

        Args:
            desk: Settles; None where nobody does.
            client: The SDK's client.
            options: What was asked.
            result: The answer.
            note: What `before` returned.
        """
        with self._guard:
            look = self._look(desk, client, options, result, note)
            if desk is not None and look is not None:
                provider = self._hosts.route(client.base_url).provider
                for end in look():
                    desk.see(provider, end)

    async def see_async(
        self, desk: JobDesk | None, client: Any, options: Any, result: object, note: bytes | None
    ) -> None:
        """Do as `see` does, without blocking the event loop."""
        with self._guard:
            look = self._look(desk, client, options, result, note)
            if desk is not None and look is not None:
                provider = self._hosts.route(client.base_url).provider
                for end in await _elsewhere(look):
                    await desk.see_async(provider, end)

    def _upload(
        self, desk: JobDesk | None, client: Any, options: Any
    ) -> Callable[[], bytes | None] | None:
        """Return what reads a batch's requests out of an upload; None for anything else."""
        files = self._files
        if desk is None or files is None or str(options.method).lower() != "post":
            return None
        if not files.uploads.search(_path(options)):
            return None
        body = options.json_data
        if not isinstance(body, Mapping) or not files.is_batch(cast("Mapping[str, object]", body)):
            return None
        route = self._hosts.route(client.base_url)
        return partial(_note_of_upload, files, options.files, route)

    def _look(
        self, desk: JobDesk | None, client: Any, options: Any, result: object, note: bytes | None
    ) -> Callable[[], list[JobEnd]] | None:
        """Return what notes an answer, and says which jobs it shows to have ended."""
        files = self._files
        if desk is None or files is None:
            return None
        route = self._hosts.route(client.base_url)
        if note is not None:
            return partial(_note_upload, desk, route, result, note)
        path = _path(options)
        if files.shows.search(path):
            return partial(_note_batches, desk, route, files, result)
        match = files.contents.search(path)
        if match is None or str(options.method).lower() != "get":
            return None
        return partial(_read_content, desk, route, files, match.group(1), result)


async def _elsewhere(work: Callable[[], Any]) -> Any:
    """Do what takes long in another thread, where there is an event loop that must go on."""
    return await asyncio.to_thread(work) if is_asyncio() else work()


def _path(options: Any) -> str:
    return urlsplit(str(options.url)).path.rstrip("/")


def _note_of_upload(files: BatchFiles, given: object, route: Route) -> bytes | None:
    lines = _lines_of(given)
    if lines is None:
        return None
    return note_of_lines(lines, lambda line: files.read_line(line, route))


def _note_upload(desk: JobDesk, route: Route, result: object, note: bytes) -> list[JobEnd]:
    file_id = text(getattr(answer_of(result), "id", None))
    if file_id is not None:
        desk.files.put(route.provider, file_id, note)
    return []


def _note_batches(desk: JobDesk, route: Route, files: BatchFiles, result: object) -> list[JobEnd]:
    answer = answer_of(result)
    ends: list[JobEnd] = []
    for shown in () if answer is None else files.shown(answer):
        if shown.output is not None:
            file_id, output = shown.output
            desk.files.put(route.provider, file_id, note_of_output(output))
        if shown.end is not None:
            ends.append(shown.end)
    return ends


def _read_content(
    desk: JobDesk, route: Route, files: BatchFiles, file_id: str, result: object
) -> list[JobEnd]:
    """Read a file: results settle their batch, requests are noted for one that is to begin."""
    response = _whole_file(result)
    note = output_of_note(desk.files.get(route.provider, file_id))
    content = _content(result, response)
    if content is None:
        if note is not None and response is not None:
            FileStream(desk, route.provider, files.results(note), response).attach()
        return []
    if note is None:
        if files.is_request(content[: content.find(b"\n") + 1] or content):
            read = note_of_lines(io.BytesIO(content), lambda line: files.read_line(line, route))
            if read is not None:
                desk.files.put(route.provider, file_id, read)
        return []
    results = files.results(note)
    for line in io.BytesIO(content):
        results.feed(line)
    end = results.end()
    return [] if end is None else [end]


def _whole_file(result: object) -> HttpResponse | None:
    """Return the response that has a file, or is going to have it; None where it has but a part."""
    response = http_response(result) or http_response(getattr(result, "response", None))
    return None if response is None or response.status_code != _WHOLE else response


def _content(result: object, response: HttpResponse | None) -> bytes | None:
    """Return the bytes of a file; None while they are still to come."""
    if isinstance(result, str):
        return result.encode()
    return None if response is None or not response.is_stream_consumed else response.content


def _lines_of(given: object) -> Iterable[bytes] | None:
    """Return the lines of the one file of an upload; None where they can't be read twice.

    Args:
        given: Pairs of a field's name and a file, or such a mapping. A file is its bytes, an open
            one, or a tuple of its name and one of these.
    """
    pairs: Any = (
        cast("Mapping[str, object]", given).items() if isinstance(given, Mapping) else given
    )
    files: list[object] = [file for _, file in pairs or ()]
    if len(files) != 1:
        return None
    (content,) = files
    if isinstance(content, tuple):
        content = cast("tuple[object, ...]", content)[1]
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes | bytearray):
        return io.BytesIO(content)
    if isinstance(content, io.IOBase) and content.seekable():
        return _lines_from_start(content)
    return None


def _lines_from_start(file: Any) -> Iterable[bytes]:
    """Yield the lines of an open file from its start, as it is sent, and put it back."""
    place = file.tell()
    file.seek(0)
    try:
        yield from file
    finally:
        file.seek(place)
