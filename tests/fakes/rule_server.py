"""A server on loopback that has a rules' document, tells whether it changed, and misbehaves."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from typing import Literal

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head

Mood = Literal["good", "silent", "drip", "html", "redirect", "reset", "huge", "bomb"]


class FakeRules(LoopbackServer):
    """Serves `text` at `/tollspan.yaml`; `mood` and `status` say how.

    Attributes:
        text: The document.
        mood: How it answers.
        status: With what, when in a good mood.
        pause_seconds: How long it takes.
        tells_etag: It names what it has.
        asked: The requests that came.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.mood: Mood = "good"
        self.status = 200
        self.pause_seconds = 0.0
        self.tells_etag = True
        self.asked: list[HttpRequest] = []
        self.go_on = threading.Event()
        super().__init__("fake-rules")

    @property
    def url(self) -> str:
        """The document's address."""
        return f"{self.root_url}/tollspan.yaml"

    def close(self) -> None:
        """End what hangs, too."""
        self.go_on.set()
        super().close()

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer as the mood is."""
        self.asked.append(request)
        time.sleep(self.pause_seconds)
        body = self.text.encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        headers = {"content-length": str(len(body)), "content-type": "text/yaml"}
        if self.tells_etag:
            headers["etag"] = etag
        match self.mood:
            case "silent":
                self.go_on.wait(60)
                return False
            case "reset":
                return False
            case "drip":
                return self._drip(connection, headers)
            case "good":
                status = self.status
                if status == 200 and request.headers.get("if-none-match") == etag:
                    body, status, headers = b"", 304, {"etag": etag}
            case "html" | "redirect" | "huge" | "bomb":
                status, body, headers = self._nonsense()
                headers["content-length"] = str(len(body))
        connection.write(head(status, headers) + body)
        connection.flush()
        return True

    def _nonsense(self) -> tuple[int, bytes, dict[str, str]]:
        """Return an answer that is no document: its status, body and headers."""
        match self.mood:
            case "html":
                return 200, b"<html>please log in</html>", {"content-type": "text/html"}
            case "redirect":
                return 302, b"", {"location": "https://login.example/x"}
            case "huge":
                return 200, b"#" * (8 << 20), {}
            case _:
                return 200, gzip.compress(b"#" * (64 << 20)), {"content-encoding": "gzip"}

    def _drip(self, connection: Connection, headers: dict[str, str]) -> bool:
        connection.write(head(200, headers))
        while not self.go_on.wait(0.1):
            connection.write(b"#")
            connection.flush()
        return False
