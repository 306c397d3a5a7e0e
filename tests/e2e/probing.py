"""A client that sends an ingest server one event after the other, as any language's would.

It goes by what the server says alone: 200 is taken; 503 is not, and says when to try again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import msgspec
import requests

from tests.contract.ledger.making import event, new_id
from tollspan.usage import EVENT_MEDIA_TYPE, UsageEvent, encode_cloud_event

_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 30.0


class Probe:
    """Sends events until it is left; a context manager.

    Attributes:
        answers: How often which status came; 0 for none.
        without_time: How often a 503 did not say when to come again.
        calls, cost_nanousd: What the server said that it took.
        refusals: The texts of the 503s.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/v1/events"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": EVENT_MEDIA_TYPE}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self.answers: Counter[int] = Counter()
        self.without_time = 0
        self.calls = self.cost_nanousd = 0
        self.refusals: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join(2 * _TIMEOUT_SECONDS)

    @property
    def is_at_it(self) -> bool:
        """Whether it still sends: an answer that is neither 200 nor 503 ends it."""
        return self._thread.is_alive()

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            cost = 1_000 + number
            made = event(new_id(), cost=cost)
            call = msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
            self._send_until_taken(msgspec.structs.replace(made, call=call))
            self.calls += 1
            self.cost_nanousd += cost

    def _send_until_taken(self, made: UsageEvent) -> None:
        body = encode_cloud_event(made)
        while True:
            status = self._send(body)
            self.answers[status] += 1
            time.sleep(_PAUSE_SECONDS)
            if status == 200:
                return

    def _send(self, body: bytes) -> int:
        try:
            answer = requests.post(
                self._url, data=body, headers=self._headers, timeout=_TIMEOUT_SECONDS
            )
        except requests.RequestException:
            return 0
        if answer.status_code == 503:
            self.without_time += not answer.headers.get("Retry-After", "").isdecimal()
            self.refusals.add(answer.json()["error"]["message"])
        elif answer.status_code == 200:
            (verdict,) = answer.json()["results"]
            assert verdict["status"] in ("accepted", "duplicate"), verdict
        else:
            raise AssertionError(f"{answer.status_code}: {answer.text}")
        return answer.status_code
