"""Reads a ledger's rows out of a damaged file's pages, without SQLite: what it can't open, too.

The format is SQLite's (https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4.1). Only
whole cells of live pages are read; what is damaged is stepped over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

_PAGE_BYTES = 4096
_MAGIC = b"SQLite format 3\x00"
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x0A, 0x02
_KINDS = frozenset({"usage", "decision", "adjustment", "total", "sent"})
# Of an event's number; what is larger beside an id is a time.
_LARGEST_NUMBER = 1 << 50
_DAMAGE = (IndexError, ValueError, struct.error, OverflowError)
Value = int | str | bytes | None
Row = tuple[Value, ...]


class Salvaged(msgspec.Struct, kw_only=True):
    """The rows that were found, each once.

    Attributes:
        events: The event in JSON → its number.
        accounts: Account id → (budget, scope, period, unit, limit); limit 0 where it is lost.
        holds: (call, account id, amount, owner, start, state, granted).
        milestones: (budget, scope, period, unit, share).
        folded: Id of an event that was folded → until when it is known, in Unix nanoseconds.
        jobs: Call → (call, provider, job, part, accepted at, deferred hold in JSON).
    """

    events: dict[bytes, int]
    accounts: dict[int, tuple[str, str, str, str, int]]
    holds: list[tuple[str, int, int, str, int, int, int]]
    milestones: set[tuple[str, str, str, str, str]]
    jobs: dict[str, tuple[str, str, str, int, int, bytes]] = {}
    folded: dict[str, int] = {}


def salvage(path: Path) -> Salvaged:
    """Read what a ledger's file and its log still hold.

    Raises:
        OSError: The file can't be read.
    """
    newest, older = _pages(path)
    found = Salvaged(events={}, accounts={}, holds=[], milestones=set())
    for number, page in older:  # events never change: an old copy of a page is as good
        for rowid, row in _table_rows(number, page, newest):
            _keep_event(found, rowid, row)
    named: dict[int, tuple[str, str, str, str, int]] = {}
    holds: dict[tuple[str, int], tuple[str, int, int, str, int, int, int]] = {}
    free = _free_pages(newest)
    for number, page in newest.items():
        for rowid, row in _table_rows(number, page, newest):
            match row:
                case (
                    None,
                    str(budget),
                    str(scope),
                    str(period),
                    str(unit),
                    int(limit),
                    int(),
                    int(),
                    int(),
                    int(),
                ):
                    found.accounts[rowid] = (budget, scope, period, unit, limit)
                case _:
                    _keep_event(found, rowid, row)
        if number in free:  # what is there of holds was settled long ago
            continue
        for row in _index_rows(number, page, newest):
            match row:
                case (
                    str(call),
                    int(account),
                    int(amount),
                    str(owner),
                    int(start),
                    int(state),
                    int(granted),
                ):
                    holds[call, account] = (call, account, amount, owner, start, state, granted)
                case (str(budget), str(scope), str(period), str(unit), int(account)):
                    named[account] = (budget, scope, period, unit, 0)
                case _:
                    _keep_other(found, row)
    found.accounts = named | found.accounts
    found.holds = list(holds.values())
    return found


def _keep_event(found: Salvaged, rowid: int, row: Row) -> None:
    match row:
        case (None, str(), str(kind), int(), int() | None, bytes(data)) if kind in _KINDS:
            found.events[data] = rowid
        case _:
            pass


def _keep_other(found: Salvaged, row: Row) -> None:
    match row:
        case (str(call), str(provider), str(job), int(part), int(at), bytes(data)):
            found.jobs[call] = (call, provider, job, part, at, data)
        case (str(budget), str(scope), str(period), str(unit), str(share)):
            found.milestones.add((budget, scope, period, unit, share))
        case (str(event), int(until)) if until > _LARGEST_NUMBER:
            found.folded[event] = until
        case _:
            pass


def _pages(path: Path) -> tuple[dict[int, bytes], list[tuple[int, bytes]]]:
    """Return the newest copy of each page by its number, and the copies that it replaced."""
    whole = path.read_bytes()
    size = _PAGE_BYTES
    if whole.startswith(_MAGIC):
        size = int.from_bytes(whole[16:18], "big")
        size = 65536 if size == 1 else size
        if size < 512 or size.bit_count() != 1:
            size = _PAGE_BYTES
    newest = {
        number + 1: whole[number * size : (number + 1) * size]
        for number in range(len(whole) // size)
    }
    older: list[tuple[int, bytes]] = []
    for number, page in _logged(path.with_name(f"{path.name}-wal"), size):
        if number in newest:
            older.append((number, newest[number]))
        newest[number] = page
    return newest, older


def _free_pages(pages: dict[int, bytes]) -> set[int]:
    """Name the pages that are on the list of free ones; none when the list is damaged.

    Their content stays where SQLite was not built to wipe it (section 1.5).
    """
    free: set[int] = set()
    following, count = struct.unpack_from(">II", pages.get(1, b"").ljust(40, b"\x00"), 32)
    while following in pages and following not in free:
        free.add(following)
        trunk = pages[following]
        following, leaves = struct.unpack_from(">II", trunk)
        free.update(struct.unpack_from(f">{min(leaves, len(trunk) // 4 - 2)}I", trunk, 8))
    return free if len(free) == count else set()


def _logged(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pages of the log's committed frames, in order."""
    try:
        log = path.read_bytes()
    except FileNotFoundError:
        return
    salt = log[16:24]
    waiting: list[tuple[int, bytes]] = []
    step = _FRAME_HEADER_BYTES + size
    for start in range(_WAL_HEADER_BYTES, len(log) - step + 1, step):
        if log[start + 8 : start + 16] != salt:
            return
        number, commits = struct.unpack_from(">II", log, start)
        waiting.append((number, log[start + _FRAME_HEADER_BYTES : start + step]))
        if commits:
            yield from waiting
            waiting = []


def _table_rows(number: int, page: bytes, pages: dict[int, bytes]) -> Iterator[tuple[int, Row]]:
    """Yield rowid and values of a table's leaf; nothing from other pages."""
    for start in _cells(number, page, _TABLE_LEAF):
        try:
            length, at = _varint(page, start)
            rowid, at = _varint(page, at)
            payload = _payload(page, at, length, len(page) - 35, pages)
            row = _record(payload)
        except _DAMAGE:
            continue
        yield rowid, row


def _index_rows(number: int, page: bytes, pages: dict[int, bytes]) -> Iterator[Row]:
    """Yield the rows of an index, which a table without row ids is too."""
    largest = (len(page) - 12) * 64 // 255 - 23
    for kind, skip in ((_INDEX_LEAF, 0), (_INDEX_INTERIOR, 4)):
        for start in _cells(number, page, kind):
            try:
                length, at = _varint(page, start + skip)
                row = _record(_payload(page, at, length, largest, pages))
            except _DAMAGE:
                continue
            yield row


def _cells(number: int, page: bytes, kind: int) -> Iterator[int]:
    """Yield where the cells of a page start, if it is of a kind."""
    header = 100 if number == 1 else 0
    if len(page) < header + 12 or page[header] != kind:
        return
    (count,) = struct.unpack_from(">H", page, header + 3)
    first = header + (12 if kind == _INDEX_INTERIOR else 8)
    for index in range(min(count, (len(page) - first) // 2)):
        yield struct.unpack_from(">H", page, first + 2 * index)[0]


def _payload(page: bytes, at: int, length: int, largest: int, pages: dict[int, bytes]) -> bytes:
    """Put a cell's payload together from its page and the pages that it overflows to."""
    usable = len(page)
    if length <= largest:
        return _slice(page, at, length)
    if length > usable * len(pages):
        raise ValueError("a cell is longer than the file")
    smallest = (usable - 12) * 32 // 255 - 23
    local = smallest + (length - smallest) % (usable - 4)
    if local > largest:
        local = smallest
    parts = [_slice(page, at, local)]
    missing = length - local
    (following,) = struct.unpack_from(">I", page, at + local)
    while missing > 0:
        if following not in pages:
            raise ValueError("an overflow page is gone")
        rest = pages[following]
        size = min(missing, usable - 4)
        parts.append(_slice(rest, 4, size))
        missing -= size
        (following,) = struct.unpack_from(">I", rest, 0)
    return b"".join(parts)


def _slice(page: bytes, at: int, length: int) -> bytes:
    if length < 0 or at + length > len(page):
        raise ValueError("a cell runs over its page")
    return page[at : at + length]


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Read a variable-length integer; return it and where it ends."""
    value = 0
    for index in range(8):
        byte = page[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | page[at + 8], at + 9


def _record(payload: bytes) -> Row:
    """Read the values of a record."""
    size, at = _varint(payload, 0)
    body = size
    values: list[Value] = []
    while at < size:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        values.append(value)
    if body != len(payload):
        raise ValueError("a record does not fill its payload")
    return tuple(values)


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), at
    if kind <= 6:
        length = (0, 1, 2, 3, 4, 6, 8)[kind]
        return int.from_bytes(_slice(payload, at, length), "big", signed=True), at + length
    if kind < 12:
        raise ValueError("a ledger has no such values")
    length = (kind - 12) // 2
    data = _slice(payload, at, length)
    return (data if kind % 2 == 0 else data.decode()), at + length
