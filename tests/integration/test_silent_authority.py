"""An authority over HTTP that does not answer at all: a few calls find that out, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head
from tollspan.exporter import HttpAuthority
from tollspan.usage import LedgerUnavailableError

ANSWER = b'{"epoch":"e1"}'


class SilentServer(LoopbackServer):
    """Answers nothing until it is told to.

    Attributes:
        asked: How many questions came.
        go_on: Has it answer.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()
        super().__init__("silent-server")

    def close(self) -> None:
        """End what hangs, too."""
        self.go_on.set()
        super().close()

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer, or wait."""
        del request
        self.asked += 1
        if not self.go_on.is_set():
            self.go_on.wait(60)
            return False
        connection.write(head(200, {"content-length": str(len(ANSWER))}) + ANSWER)
        connection.flush()
        return True


@pytest.fixture
def server() -> Iterator[SilentServer]:
    with SilentServer() as running:
        yield running


def test_after_a_few_questions_without_an_answer_one_a_second_is_put_until_one_is_answered(
    server: SilentServer,
) -> None:
    now = [100.0]
    authority = HttpAuthority(
        server.root_url, key="tsp_1", timeout_seconds=0.3, clock=lambda: now[0]
    )
    for _ in range(10):
        with pytest.raises(LedgerUnavailableError):
            authority.epoch()
    assert server.asked == 3
    now[0] += 1.5
    for _ in range(3):
        with pytest.raises(LedgerUnavailableError):
            authority.epoch()
    assert server.asked == 4
    server.go_on.set()
    with pytest.raises(LedgerUnavailableError, match="asked soon"):
        authority.epoch()
    authority.prepare()  # as whatever no call waits for: it may ask, and is answered
    assert authority.epoch() == "e1"
    authority.close()
