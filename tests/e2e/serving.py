"""Starts a server of somebody else's as people start it, asks it, and ends it in good order."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.e2e.waiting import wait_until

_URL = re.compile(r"http://127\.0\.0\.1:(\d+)")
_PATIENCE_SECONDS = 60


class Answer(msgspec.Struct, kw_only=True):
    """What `programs/served.py` answers."""

    outcome: str
    pid: int
    threads: list[str]


class Server:
    """A server of web workers, on a port of its own choice; a context manager.

    Attributes:
        errors: The lines of its standard error.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, env=dict(env), cwd=folder, stderr=subprocess.PIPE, text=True
        )
        self.errors: list[str] = []
        self._url = ""
        self._is_up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self._is_up.wait(_PATIENCE_SECONDS)
        assert self._url, self.errors
        wait_until(self._takes_connections)  # uvicorn names its port before a worker listens there
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.end()

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._reader.join(_PATIENCE_SECONDS)
            assert self._process.stderr is not None
            self._process.stderr.close()

    def ask(self) -> Answer:
        """Make one request."""
        with urllib.request.urlopen(self._url, timeout=_PATIENCE_SECONDS) as answer:
            return msgspec.json.decode(answer.read(), type=Answer)

    def ask_at_once(self, requests: int, threads: int = 4) -> list[Answer]:
        """Make requests in threads."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda _: self.ask(), range(requests)))

    def _takes_connections(self) -> bool:
        assert self._process.poll() is None, self.errors
        host, _, port = self._url.removeprefix("http://").partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
            return True
        return False

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line)
            found = _URL.search(line)
            if found is not None and not self._url:
                self._url = found[0]
                self._is_up.set()
        self._is_up.set()
