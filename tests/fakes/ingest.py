"""An ingest API on loopback that keeps what it is sent, and misbehaves when it is told to."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head
from tollspan.usage import Fact, decode_cloud_event, event_id, split_batch

Mood = Literal["good", "silent", "html", "redirect", "reset", "lies", "half", "forgets", "closes"]
JSON: Mapping[str, str] = {"content-type": "application/json"}


class FakeIngest(LoopbackServer):
    """Stores events of one tenant, once each. It holds no budgets, and has no rules.

    Attributes:
        tenant: Whose its key is.
        key: The one key that it knows.
        mood: How it answers batches.
        status: With what it answers in a good mood.
        headers: What it sends besides.
        tells: What it says beside its verdicts.
        most: How many events it takes at once.
        refuses: Says why an event is refused for good; None for no reason.
        stored: What it has, by id, in the order in which it came.
        asked: How many requests came, for whatever.
        batches: How many events each batch had, whatever became of it.
        left: How many were left behind it, and how many dead letters there were, as the host says.
    """

    def __init__(self, *, tenant: str = "acme", key: str = "tsp_1") -> None:
        self.tenant = tenant
        self.key = key
        self.mood: Mood = "good"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.tells: dict[str, object] = {}
        self.most = 10_000
        self.refuses: Callable[[Fact], str | None] = lambda _: None
        self.stored: dict[str, Fact] = {}
        self.asked = 0
        self.batches: list[int] = []
        self.left: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.go_on = threading.Event()
        super().__init__("fake-ingest")

    def close(self) -> None:
        """End what hangs, too."""
        self.go_on.set()
        super().close()

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer a question for the key, or a batch."""
        self.asked += 1
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return self._send(connection, 401, _error("unauthorized"))
        if request.path == "/v1/key":
            scopes = {"tenant": self.tenant, "scopes": ["ingest"]}
            return self._send(connection, 200, json.dumps(scopes).encode())
        if request.path == "/v1/rules":
            return self._send(connection, 204, b"", {})
        if request.path != "/v1/events":
            return self._send(connection, 404, _error("not_found"))
        self.times.append(time.monotonic())
        events = split_batch(gzip.decompress(request.body))
        self.batches.append(len(events))
        said = request.headers
        self.left.append((said["tollspan-waiting"], said["tollspan-dead-letters"]))
        if request.headers.get("tollspan-tenant") != self.tenant:
            return self._send(connection, 403, _error("wrong_tenant"))
        if len(events) > self.most:
            return self._send(connection, 413, _error("too_large"))
        return self._take(connection, events)

    def _take(self, connection: Connection, events: list[bytes]) -> bool:
        match self.mood:
            case "html":
                return self._send(connection, 200, b"<html>hello</html>", {})
            case "redirect":
                return self._send(connection, 307, b"", {"location": "https://other.example/"})
            case "silent" | "reset" | "forgets" | "closes":
                return self._break_off(connection, events)
            case "good" if self.status != 200:
                return self._send(connection, self.status, _error("trouble"), self.headers)
            case "lies":
                results = [{"id": "x", "status": "accepted"} for _ in events]
            case "half":
                results = self._store(events[: len(events) // 2])
            case "good":
                results = self._store(events)
        body = {"results": results, **self.tells}
        return self._send(connection, 200, json.dumps(body).encode())

    def _break_off(self, connection: Connection, events: list[bytes]) -> bool:
        """Give no answer, or half of one, whether the events were stored or not."""
        if self.mood == "silent":
            self.go_on.wait(60)
        if self.mood in ("forgets", "closes"):
            self._store(events)
        if self.mood == "closes":
            connection.write(head(200, {**JSON, "content-length": "100000"}) + b"{")
            connection.flush()
        return False

    def _store(self, events: list[bytes]) -> list[dict[str, str]]:
        results: list[dict[str, str]] = []
        for written in events:
            fact = decode_cloud_event(written)
            name = event_id(fact)
            why = self.refuses(fact)
            if why is not None:
                results.append({"id": name, "status": "rejected", "reason": why, "message": "no"})
            elif name in self.stored:
                results.append({"id": name, "status": "duplicate"})
            else:
                self.stored[name] = fact
                results.append({"id": name, "status": "accepted"})
        return results

    @staticmethod
    def _send(
        connection: Connection, status: int, body: bytes, headers: Mapping[str, str] = JSON
    ) -> bool:
        connection.write(head(status, {**headers, "content-length": str(len(body))}) + body)
        connection.flush()
        return True


def _error(kind: str) -> bytes:
    return json.dumps({"error": {"type": kind, "message": kind}}).encode()
