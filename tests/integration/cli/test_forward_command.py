"""`tollspan forward`: every event once, in order, through refusals, lost answers and rebuilding."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.books import call, denied, used, write
from tests.integration.cli.conftest import Run
from tollspan.cli import main


class Sink:
    """An address that takes CloudEvents.

    Attributes:
        bodies: What it took, request by request.
        headers: Of each request.
        refuses: The status with which it answers, None for 202; or -1 to break off after taking.
    """

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.refuses: int | None = None
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.headers.append(dict(self.headers))
                if sink.refuses in (None, -1):
                    sink.bodies.append(json.loads(body))
                if sink.refuses == -1:
                    return
                self.send_response(sink.refuses or 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://user:secret@127.0.0.1:{self.server.server_port}/events?a=b"

    @property
    def ids(self) -> list[str]:
        """Of all events, as they came."""
        return [
            one["id"]
            for body in self.bodies
            for one in (body if isinstance(body, list) else [body])
        ]


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def ids(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def forward(run: Run, sink: Sink, *more: str) -> tuple[int, str, str]:
    return run("forward", "--to", sink.url, "--cursor", "cursor.json", *more)


def test_each_event_is_sent_once_in_order(home: Path, run: Run, sink: Sink) -> None:
    write(home, *(used(call(n)) for n in range(1, 6)), denied(call(6)))
    assert forward(run, sink, "--at-once", "4")[:2] == (0, "6 events forwarded\n")
    assert sink.ids == [*ids(1, 2, 3, 4, 5), f"{6:032x}.d0"]
    assert [len(body) for body in sink.bodies] == [4, 2]
    assert sink.headers[0]["Content-Type"] == "application/cloudevents-batch+json"
    assert sink.bodies[0][0]["specversion"] == "1.0"
    assert forward(run, sink)[:2] == (0, "0 events forwarded\n")
    write(home, used(call(7)))
    assert forward(run, sink)[:2] == (0, "1 event forwarded\n")
    assert sink.ids[6:] == ids(7)


def test_what_is_refused_comes_again_from_there(home: Path, run: Run, sink: Sink) -> None:
    write(home, *(used(call(n)) for n in range(1, 4)))
    sink.refuses = 503
    code, output, said = forward(run, sink)
    assert (code, output) == (1, "0 events forwarded\n")
    assert "it answers 503; expected 200 to 299" in said
    assert "secret" not in said
    sink.refuses = -1
    assert forward(run, sink)[0] == 1  # taken, but the answer was lost
    sink.refuses = None
    assert forward(run, sink)[0] == 0
    assert sink.ids == [*ids(1, 2, 3), *ids(1, 2, 3)]


def test_one_by_one_is_the_structured_mode(home: Path, run: Run, sink: Sink) -> None:
    write(home, used(call(1)), used(call(2)))
    assert forward(run, sink, "--at-once", "1")[0] == 0
    assert [body["id"] for body in sink.bodies] == ids(1, 2)
    assert {one["Content-Type"] for one in sink.headers} == {"application/cloudevents+json"}


def test_a_rebuilt_ledger_is_not_sent_anew(home: Path, run: Run, sink: Sink) -> None:
    write(home, *(used(call(n)) for n in range(1, 4)))
    assert forward(run, sink)[0] == 0
    assert main(["ledger", "rebuild"]) == 0
    write(home, used(call(4)))
    assert forward(run, sink)[0] == 0
    assert sink.ids == ids(1, 2, 3, 4)


def test_a_token_comes_from_a_file(home: Path, run: Run, sink: Sink, tmp_path: Path) -> None:
    write(home, used(call(1)))
    key = tmp_path / "key"
    key.write_text("abc\n")
    assert forward(run, sink, "--key-file", str(key))[0] == 0
    assert sink.headers[0]["Authorization"] == "Bearer abc"
    key.write_text("two lines\nof it")
    assert forward(run, sink, "--key-file", str(key))[0] == 1


def test_a_cursor_is_of_one_address(home: Path, run: Run, sink: Sink) -> None:
    write(home, used(call(1)))
    assert forward(run, sink)[0] == 0
    assert "secret" not in Path("cursor.json").read_text()
    code, _, said = run("forward", "--to", "http://127.0.0.1:1/", "--cursor", "cursor.json")
    assert code == 1
    assert "name another file" in said
    Path("cursor.json").write_text("{")
    assert forward(run, sink)[0] == 1
    assert run("forward", "--to", "ftp://x", "--cursor", "c")[0] == 1
