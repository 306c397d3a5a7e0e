"""The sightings that may tell of the same calls as those of a batch, found without comparing all.

A sighting is compared with few others, however many of a hostile batch look alike: what is beyond
that counts as a call of its own.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from .sameness import Sighting, counted_by

_MOST_COMPARED: Final = 64
_FARTHEST: Final = 256
_KEY_BYTES: Final = 16
_Place = tuple[object, ...]


def answer_key(tenant: str, sighting: Sighting) -> bytes | None:
    """Return the digest of an answer's id; None where there is none."""
    return None if sighting.answer is None else digest(tenant, "answer", sighting.answer)


def call_key(tenant: str, sighting: Sighting) -> bytes | None:
    """Return the digest of the id that a call has on its host; None where it has none."""
    return None if sighting.call_id is None else digest(tenant, "call", sighting.call_id)


def likeness_key(tenant: str, sighting: Sighting) -> bytes | None:
    """Return the digest of what spans of one call have in common in two traces, or None."""
    if sighting.service is None or sighting.tokens is None:
        return None
    return digest(tenant, "alike", sighting.service, *map(str, sighting.tokens))


def digest(*parts: str) -> bytes:
    """Return a digest of texts."""
    text = "\0".join(parts).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=_KEY_BYTES).digest()


class Candidates:
    """Sightings, by what they may have in common with another."""

    def __init__(self, known: Iterable[Sighting] = ()) -> None:
        self._of_event: dict[str, list[Sighting]] = {}
        self._keyed: dict[_Place, list[str]] = {}
        self._alike: dict[_Place, dict[str, list[tuple[int, str]]]] = {}
        for each in known:
            self.add(each)

    def add(self, sighting: Sighting) -> None:
        """Take one in."""
        event_id = sighting.event_id
        self._of_event.setdefault(event_id, []).append(sighting)
        for key in _keys(sighting):
            self._keyed.setdefault(key, []).append(event_id)
        if sighting.parent_id:
            parent = ("parent", sighting.trace_id, sighting.parent_id)
            self._keyed.setdefault(parent, []).append(event_id)
        for place in _likenesses(sighting):
            of_scope = self._alike.setdefault(place, {}).setdefault(sighting.scope, [])
            bisect.insort(of_scope, (sighting.since_unix_ns, event_id))

    def join(self, event_id: str, counted: Sighting) -> list[Sighting]:
        """Note that another event counts an event's call; return what told of it, as it is now."""
        moved = [counted_by(each, counted) for each in self._of_event.pop(event_id, [])]
        for each in moved:
            self.add(each)
        return moved

    def of(self, sighting: Sighting) -> Iterator[Sighting]:
        """Yield those that it has to be compared with, all of each event."""
        events: dict[str, None] = {}
        for key in (*_keys(sighting), *_links(sighting)):
            events.update(dict.fromkeys(self._keyed.get(key, ())[:_MOST_COMPARED]))
        for place in _likenesses(sighting):
            for scope, told in self._alike.get(place, {}).items():
                if scope == sighting.scope:
                    continue  # an instrumentor tells each call once
                at = bisect.bisect_left(told, (sighting.since_unix_ns, ""))
                before, after = told[max(0, at - _FARTHEST) : at], told[at : at + _FARTHEST]
                for near in (reversed(before), after):
                    events.update(dict.fromkeys(self._untold(near, sighting.scope)))
        for event_id in events:
            yield from self._of_event.get(event_id, ())

    def _untold(self, near: Iterable[tuple[int, str]], scope: str) -> Iterator[str]:
        """Yield a few events, in this order, of whose calls a scope has not told yet."""
        untold = (
            event_id
            for _, event_id in near
            if all(each.scope != scope for each in self._of_event.get(event_id, ()))
        )
        return islice(untold, _MOST_COMPARED // 4)


def _keys(sighting: Sighting) -> Iterator[_Place]:
    if sighting.trace_id:
        yield "span", sighting.trace_id, sighting.span_id
    if sighting.call_id is not None:
        yield "call", sighting.call_id
    if sighting.answer is not None:
        yield "answer", sighting.answer


def _links(sighting: Sighting) -> Iterator[_Place]:
    if sighting.trace_id:
        yield "parent", sighting.trace_id, sighting.span_id
    if sighting.parent_id:
        yield "span", sighting.trace_id, sighting.parent_id


def _likenesses(sighting: Sighting) -> Iterator[_Place]:
    if sighting.trace_id:
        yield "tokens", sighting.trace_id, sighting.tokens
        yield "trace", sighting.trace_id
    if sighting.service is not None and sighting.tokens is not None:
        yield "alike", sighting.service, sighting.tokens
