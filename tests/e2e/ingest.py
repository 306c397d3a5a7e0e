"""`tollspan serve` as people run it: in a process of its own, which may be killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import requests

from tests import harness
from tests.services import free_port

COMMAND = str(Path(sys.executable).parent / "tollspan")


class ServeCommand:
    """`tollspan serve` in a process of its own, which can be killed and started again.

    Args:
        home: Its folder; made if it is not there.
        options: More words of its command line.
        database: What it is told by `--db`; None for SQLite in its home.
        log: Where its log goes; None for this process's own.
        environ: Settings besides.
    """

    def __init__(
        self,
        home: Path,
        *options: str,
        database: str | None = None,
        log: Path | None = None,
        environ: Mapping[str, str] = {},
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = harness.environment(home, "http://127.0.0.1:9", **environ)
        self._options = options
        self._database = () if database is None else ("--db", database)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        home.mkdir(exist_ok=True)

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> str:
        """Start it; return what it says once it listens."""
        with self._log.open("a") if self._log else contextlib.nullcontext() as log:
            self._process = subprocess.Popen(
                [COMMAND, "serve", "--port", str(self.port), *self._database, *self._options],
                env=self._env, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self, *, is_killed: bool) -> int:
        """End it; return its exit code."""
        assert self._process is not None
        if is_killed:
            self._process.kill()
        else:
            self._process.terminate()
        code = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        """End it as a crash does."""
        self.end(is_killed=True)

    def make_key(self, *scopes: str, tenant: str = "default") -> str:
        """Make a key as a new user does, and before that its tenant, where it is a new one."""
        if tenant not in {"default", "*"}:
            done = harness.run([COMMAND, "tenants", "create", tenant, *self._database], self._env)
            assert done.returncode == 0, done.stderr
        asked = ("--tenant", tenant, "--scopes", ",".join(scopes or ("ingest", "read")), "--json")
        done = harness.run([COMMAND, "keys", "create", *self._database, *asked], self._env)
        assert done.returncode == 0, done.stderr
        key: str = json.loads(done.stdout)["key"]
        return key

    def ask(self, path: str, key: str) -> Mapping[str, object]:
        """Ask for something."""
        answer = requests.get(
            self.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        found: Mapping[str, object] = answer.json()
        return found


@contextlib.contextmanager
def serving(
    home: Path, *options: str, database: str | None = None, environ: Mapping[str, str] = {}
) -> Iterator[ServeCommand]:
    """Run it until the block ends."""
    server = ServeCommand(home, *options, database=database, environ=environ)
    try:
        assert server.url in server.start()
        yield server
    finally:
        server.end(is_killed=True)


def send_the_rest(home: Path, **settings: str) -> None:
    """Send what a host has not sent yet, as the next program there does."""
    env = harness.environment(home, "http://127.0.0.1:9", **settings)
    done = harness.run([COMMAND, "outbox", "send"], env)
    assert done.returncode == 0, done.stderr


def rows(server: ServeCommand, key: str, group_by: str = "customer") -> dict[str, tuple[int, int]]:
    """Return calls and nano-USD by the values of a dimension, all that have calls."""
    kept: dict[str, tuple[int, int]] = {}
    cursor = ""
    while True:
        found = server.ask(f"/v1/usage?group_by={group_by}&limit=10000{cursor}", key)
        page = found["rows"]
        assert isinstance(page, list)
        kept |= {
            row[group_by]: (row["calls"], int(row["cost_nanousd"])) for row in page if row["calls"]
        }
        if found["next"] is None:
            return kept
        cursor = f"&cursor={quote(str(found['next']))}"


def total(server: ServeCommand, key: str) -> tuple[int, int]:
    """Return how many calls the server counts, and their nano-USD."""
    found = server.ask("/v1/usage", key)["rows"]
    assert isinstance(found, list)
    return sum(row["calls"] for row in found), sum(int(row["cost_nanousd"]) for row in found)
