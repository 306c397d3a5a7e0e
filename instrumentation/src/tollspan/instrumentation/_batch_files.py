"""Batches that are files at the provider: what a host remembers of them between the requests.

A program uploads a file of requests, names it to begin a batch, and reads another file for what
became of it: in this process, or in others of the host. Prompts and answers are not kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from tollspan.safety import report
from tollspan.usage import Request

from ._batch_shapes import Line
from ._hosts import Route

MOST_LINES = 50_000
"""How many requests one file may have; source: openai-python 3.57, `batch_create_params.py`."""
UNKNOWN_FILE, UNKNOWN_LINE = "batch_file", "batch_line"
"""Why a request's bytes are no bound: nobody here knows the file, or can read the line."""
_PART = 500
_encode = msgspec.json.Encoder().encode
_decode_lines = msgspec.json.Decoder(list[Line]).decode


class FileNotes(Protocol):
    """Keeps what is known of files at providers, for the processes of a host."""

    def put(self, provider: str, file_id: str, note: bytes) -> None:
        """Keep a note of a file, in place of another one; never raises."""
        ...

    def get(self, provider: str, file_id: str) -> bytes | None:
        """Return the note of a file; None when there is none, or it can't be read."""
        ...


class OutputNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a file of results: what it says is all that the batch has used.

    Attributes:
        batch_id: Whose results they are.
        completed: How many of its requests were answered; None where nobody said so.
        total: How many there were; None likewise.
    """

    batch_id: str
    completed: int | None = None
    total: int | None = None


_decode_output = msgspec.json.Decoder(OutputNote).decode


def unknown(route: Route, why: str, calls: int = 1) -> Request:
    """Return the request that stands for what can't be read: of any model, as large as can be."""
    return Request(
        provider=route.provider,
        operation="chat",
        model="",
        host=route.host,
        port=route.port,
        is_assumed=route.is_assumed,
        unbounded=(why,),
        calls=calls,
    )


def note_of_lines(lines: Iterable[bytes], read: Callable[[bytes], Line | None]) -> bytes | None:
    """Return what to remember of a file of requests; None where it is none, or has too many.

    Args:
        lines: The file, line by line.
        read: Reads one; None for what costs nothing.
    """
    found: list[Line] = []
    count = 0
    for data in lines:
        if not data.strip():
            continue
        count += 1
        line = read(data) if count <= MOST_LINES else None
        if line is not None:
            found.append(line)
    if not 0 < count <= MOST_LINES:
        return None
    # In parts: each is one step of C, during which no other thread of the program runs.
    parts = [_encode(found[at : at + _PART]) for at in range(0, len(found), _PART)]
    return zlib.compress(b"\n".join(parts), 1)


def lines_of_note(note: bytes | None) -> list[Line] | None:
    """Return the requests of a file that was noted; None where nothing of use was."""
    if note is None:
        return None
    try:
        parts = zlib.decompress(note).split(b"\n")
        return [line for part in parts if part for line in _decode_lines(part)]
    except (zlib.error, msgspec.MsgspecError) as error:
        report("instrumentation.files", error)
        return None


def note_of_output(note: OutputNote) -> bytes:
    """Return what to remember of a file of results."""
    return _encode(note)


def output_of_note(note: bytes | None) -> OutputNote | None:
    """Return what is known of a file of results; None where it was not noted as one."""
    if note is None or not note.startswith(b"{"):
        return None
    try:
        return _decode_output(note)
    except msgspec.MsgspecError as error:
        report("instrumentation.files", error)
        return None
