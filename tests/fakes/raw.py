"""Requests without an SDK, for what it hides: the JSON as it was on the wire."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.fakes.provider import FakeProvider
from tests.fakes.replies import FAKE_HEADER

KEYS: Mapping[str, str] = {
    "authorization": "Bearer key",
    "x-api-key": "key",
    "anthropic-version": "2026-10-21",
}
"""Headers that every fake takes for a key."""


class RawEvent(NamedTuple):
    """A server-sent event; `data` is its JSON, or its text if it has none."""

    name: str | None
    data: Any


def post(
    fake: FakeProvider,
    path: str,
    body: object,
    fake_reply: object = None,
    *,
    keys: Mapping[str, str] = KEYS,
) -> Any:
    """Return the JSON of an answer, also of an error."""
    return json.loads(_post(fake, path, body, fake_reply, keys))


def post_stream(
    fake: FakeProvider, path: str, body: object, fake_reply: object = None
) -> list[RawEvent]:
    """Return the events of an answer."""
    events: list[RawEvent] = []
    for block in _post(fake, path, body, fake_reply, KEYS).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            text = fields["data"]
            data = json.loads(text) if text.startswith("{") else text
            events.append(RawEvent(fields.get("event"), data))
    return events


def _post(
    fake: FakeProvider, path: str, body: object, fake_reply: object, keys: Mapping[str, str]
) -> str:
    headers = {**keys, "content-type": "application/json"}
    if fake_reply is not None:
        headers[FAKE_HEADER] = json.dumps(fake_reply)
    request = urllib.request.Request(
        fake.root_url + path, data=json.dumps(body).encode(), headers=headers
    )
    try:
        opened = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        opened = error
    with opened as response:
        read: bytes = response.read()
        is_packed = response.headers["content-encoding"] == "gzip"
    return (gzip.decompress(read) if is_packed else read).decode()
