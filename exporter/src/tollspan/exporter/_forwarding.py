"""Forwards events to any HTTP address that takes CloudEvents, from where it stopped before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from tollspan.ledger import LedgerReader, replace_file
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    EVENT_MEDIA_TYPE,
    ConfigError,
    Fact,
    encode_batch,
    encode_cloud_event,
    event_id,
    event_time,
)

from ._addresses import shown
from ._http import HttpClient, HttpError

MOST_AT_ONCE: Final = 500
_MOST_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 30.0
_LONGEST_ANSWER: Final = 1 << 16


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a ledger was forwarded: its last event, by id and time, for numbers may change."""

    url: str
    number: int = 0
    event_id: str = ""
    time_unix_ns: int = 0


class Forwarder:
    """Sends a ledger's events to one address, in the order in which they were stored.

    Each is sent once or, where an answer was lost, more than once, always with the same id. Not for
    two processes at once.

    Args:
        reader: Of the ledger.
        url: Where to: it is sent CloudEvents in JSON by POST.
        cursor: The file that keeps how far it came; made when the first batch was taken.
        key: A bearer token; None for none.
        at_once: Events in a batch; 1 sends each by itself, as `application/cloudevents+json`.

    Raises:
        ConfigError: The file is of another address, or can't be read.
    """

    def __init__(
        self, reader: LedgerReader, url: str, cursor: Path, *, key: str | None = None,
        at_once: int = 100,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._url = url
        self._cursor = cursor
        self._at_once = min(at_once, MOST_AT_ONCE)
        self._place = _read(cursor, shown(url))
        self._client = HttpClient(key, timeout_seconds=_TIMEOUT_SECONDS, most_bytes=_LONGEST_ANSWER)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def forward(self) -> Iterator[int]:
        """Send what was stored since; yield how many events were taken, batch by batch.

        Raises:
            HttpError: A batch was not taken: the text says why. What was taken before stays so.
            ConfigError: The cursor can't be written.
            LedgerError: The ledger can't be read.
        """
        while batch := list(islice(self._new(), self._at_once)):
            events = _as_many_as_fit([encode_cloud_event(fact) for _, fact in batch])
            self._send(events)
            number, last = batch[len(events) - 1]
            self._place = msgspec.structs.replace(
                self._place, number=number, event_id=event_id(last), time_unix_ns=event_time(last)
            )
            _write(self._cursor, self._place)
            yield len(events)

    def _new(self) -> Iterator[tuple[int, Fact]]:
        place = self._place
        after = 0
        if place.event_id:  # a rebuilt ledger has other numbers
            after = self._reader.number_of(place.event_id, place.time_unix_ns)
        return self._reader.numbered_facts(after=after, since_unix_ns=0)

    def _send(self, events: list[bytes]) -> None:
        is_single = self._at_once == 1
        kind = EVENT_MEDIA_TYPE if is_single else BATCH_MEDIA_TYPE
        headers = {"Content-Type": kind, "User-Agent": "tollspan"}
        try:
            answer = self._client.post(
                self._url, headers, events[0] if is_single else encode_batch(events)
            )
        except HttpError as error:
            raise HttpError(f"{shown(self._url)}: {error}") from None
        if not 200 <= answer.status < 300:
            raise HttpError(f"{shown(self._url)}: it answers {answer.status}; expected 200 to 299")


def _as_many_as_fit(events: list[bytes]) -> list[bytes]:
    """Return the first events that fit into one request, one at least."""
    size = 0
    for count, event in enumerate(events):
        size += len(event)
        if count and size > _MOST_BYTES:
            return events[:count]
    return events


def _read(cursor: Path, url: str) -> _Place:
    try:
        place = msgspec.json.decode(cursor.read_bytes(), type=_Place)
    except FileNotFoundError:
        return _Place(url=url)
    except OSError as error:
        raise ConfigError(f"{cursor}: can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{cursor}: is no cursor of `tollspan forward` ({error})") from None
    if place.url != url:
        raise ConfigError(f"{cursor}: is of {place.url}, not of {url}: name another file")
    return place


def _write(cursor: Path, place: _Place) -> None:
    """Replace the file in one piece."""
    try:
        replace_file(cursor, msgspec.json.encode(place), is_durable=True)
    except OSError as error:
        raise ConfigError(f"{cursor}: can't be written: {error.strerror}") from error
