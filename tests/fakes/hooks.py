"""A receiver of webhooks on loopback that keeps what it is sent, and fails when it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head
from tollspan.usage import verify_webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The delivery's id."""
        return self.headers["tollspan-delivery"]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def is_signed_by(self, *secrets: str) -> bool:
        """Check it as a receiver does."""
        return verify_webhook(
            self.body,
            self.headers["tollspan-signature"],
            secrets,
            self.headers["tollspan-timestamp"],
        )


class FakeHooks(LoopbackServer):
    """Takes webhooks.

    Attributes:
        status: What it answers.
        headers: What it sends besides.
        mood: `good`; `silent`: never answers; `drips`: sends headers without an end.
        told: All requests, in the order in which they came.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.mood = "good"
        self.told: list[Told] = []
        self.go_on = threading.Event()
        super().__init__("fake-hooks")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}/hooks?a=b"

    def close(self) -> None:
        """End what hangs, too."""
        self.go_on.set()
        super().close()

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Keep a request, and answer it."""
        self.told.append(Told(headers=request.headers, body=request.body))
        if self.mood == "silent":
            self.go_on.wait(60)
            return False
        if self.mood == "drips":
            connection.write(b"HTTP/1.1 200 OK\r\n")
            while not self.go_on.wait(0.05):
                connection.write(b"x: y\r\n")
                connection.flush()
                time.sleep(0)
            return False
        connection.write(head(self.status, {"content-length": "2", **self.headers}) + b"ok")
        connection.flush()
        return True
