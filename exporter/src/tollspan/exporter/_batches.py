"""Batches of events on their way to the ingest API: how they are cut, sent, and answered."""

from __future__ import annotations

import email.utils
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    DEAD_LETTERS_HEADER,
    WAITING_HEADER,
    EventVerdict,
    Fact,
    KeyInfo,
    encode_batch,
    encode_cloud_event,
    event_id,
)

from ._http import Answer, HttpClient, HttpError

MOST_BYTES: Final = 1 << 20
_LONGEST_WAIT_SECONDS: Final = 3600.0
_SECONDS: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)
_GZIP_WINDOW: Final = 31
_TOO_MUCH: Final = 413
_WRONG: Final = 400
_WORDS: Final[Mapping[int, str]] = {
    401: "the key in TOLLSPAN_API_KEY is none that it knows, or it was revoked",
    403: "the key in TOLLSPAN_API_KEY may not send events",
    404: "there is no ingest API at TOLLSPAN_ENDPOINT",
    429: "it wants us to wait",
}


class RefusedError(HttpError):
    """The server does not take the batch now.

    Attributes:
        wait_seconds: For how long it asks us to wait; None where it does not say.
    """

    wait_seconds: float | None = None


class TooMuchError(HttpError):
    """The server does not take a batch of this size, or can't read something in it."""

    reason: str = "too_large"


class _Verdicts(msgspec.Struct):
    """The verdicts of an answer, whatever else is in it."""

    results: tuple[EventVerdict, ...]


class Taken(msgspec.Struct, frozen=True):
    """What a server made of a batch.

    Attributes:
        verdicts: Event by event.
        answer: The whole of what it said; empty where it said nothing.
    """

    verdicts: tuple[EventVerdict, ...]
    answer: bytes = b""


class _Problem(msgspec.Struct):
    error: dict[str, str]


_problem = msgspec.json.Decoder(_Problem)
_verdicts = msgspec.json.Decoder(_Verdicts)
_key_info = msgspec.json.Decoder(KeyInfo)


def cut(facts: Sequence[Fact], most_events: int) -> list[tuple[Fact, bytes]]:
    """Return the first events, written, that are one batch: one at least."""
    found: list[tuple[Fact, bytes]] = []
    size = 0
    for fact in facts[:most_events]:
        written = encode_cloud_event(fact)
        size += len(written) + 1
        if found and size > MOST_BYTES:
            break
        found.append((fact, written))
    return found


def send(
    client: HttpClient,
    endpoint: str,
    tenant: str,
    batch: Sequence[tuple[Fact, bytes]],
    *,
    waiting: int,
    dead: int,
) -> Taken:
    """Send a batch; return what became of each event.

    Args:
        client: Asks the server.
        endpoint: Where it is.
        tenant: Whose the events are.
        batch: Events, and how they are written.
        waiting: How many are left behind these, for those who look after the server.
        dead: How many were refused for good before.

    Raises:
        TooMuchError: Send less at once; of one event alone: it can't be sent.
        RefusedError: Send it later.
        HttpError: Nobody knows whether it was taken: send it again.
    """
    packer = zlib.compressobj(level=1, wbits=_GZIP_WINDOW)
    body = packer.compress(encode_batch([written for _, written in batch])) + packer.flush()
    headers = {
        "Content-Type": BATCH_MEDIA_TYPE,
        "Content-Encoding": "gzip",
        "Accept": "application/json",
        "Tollspan-Tenant": tenant,
        WAITING_HEADER: str(waiting),
        DEAD_LETTERS_HEADER: str(dead),
    }
    answer = client.post(f"{endpoint}/v1/events", headers, body)
    _raise_for(answer)
    try:
        results = _verdicts.decode(answer.body).results
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HttpError("it answers something else than the verdicts of the ingest API") from None
    ids = [event_id(fact) for fact, _ in batch]
    if [one.id for one in results] != ids:
        raise HttpError(f"it answers with verdicts for {len(results)} events, but not for ours")
    return Taken(results, answer.body)


def whose(client: HttpClient, endpoint: str) -> str:
    """Ask whose the key is.

    Raises:
        HttpError: The server does not say.
    """
    answer = client.get(f"{endpoint}/v1/key", {"Accept": "application/json"})
    _raise_for(answer)
    try:
        return _key_info.decode(answer.body).tenant
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HttpError("it does not say whose the key is: is it an ingest API?") from None


def _raise_for(answer: Answer) -> None:
    status = answer.status
    if status == 200:
        return
    if status in (_TOO_MUCH, _WRONG) and _is_ours(answer):
        error = TooMuchError(f"it answers {status}")
        error.reason = "too_large" if status == _TOO_MUCH else "invalid"
        raise error
    said = _WORDS.get(status)
    text = f"it answers {status}" + (f": {said}" if said else "")
    refused = RefusedError(text, kind=str(status))
    refused.wait_seconds = _wait(answer.headers.get("retry-after"))
    raise refused


def _is_ours(answer: Answer) -> bool:
    """Say whether the ingest API speaks, and not a proxy before it, which knows no events."""
    try:
        return bool(_problem.decode(answer.body).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _wait(said: str | None) -> float | None:
    """Read `Retry-After`: seconds or a date; an hour at most. None where it says neither."""
    if said is None:
        return None
    try:
        seconds = float(said) if _SECONDS.fullmatch(said) else _seconds_until(said)
    except (ValueError, TypeError, OverflowError):  # as the parser fails with odd dates
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)


def _seconds_until(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
