"""Sends an ingest server what it has already, as it happens after a crash or a lost answer."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import requests

from tests import harness
from tollspan.usage import EventVerdicts, encode_batch, encode_cloud_event

_BATCH = "application/cloudevents-batch+json"
_OTLP = "application/x-protobuf"


def send_spans(url: str, key: str, bodies: Iterable[bytes]) -> None:
    """Send what a receiver of OTLP has kept."""
    for body in list(bodies):
        _send(f"{url}/v1/traces", key, _OTLP, body)


def send_events(url: str, key: str, homes: Sequence[Path], *, at_once: int) -> None:
    """Send the usage events of hosts once more, in any order; each is known."""
    events = [encode_cloud_event(one) for home in homes for one in harness.usage_events(home)]
    random.Random(8).shuffle(events)
    for start in range(0, len(events), at_once):
        body = encode_batch(events[start : start + at_once])
        answer = _send(f"{url}/v1/events", key, _BATCH, body)
        verdicts = msgspec.json.decode(answer.content, type=EventVerdicts).results
        said = {one.status for one in verdicts}
        assert said == {"duplicate"}, f"events that were sent before are {said}"


def _send(address: str, key: str, kind: str, body: bytes) -> requests.Response:
    """Send something; it is taken."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    answer = requests.post(address, data=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer
