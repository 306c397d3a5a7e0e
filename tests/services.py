"""Servers that tests start for themselves: Redis (or Valkey), PostgreSQL, PgBouncer, on loopback.

Each has a folder of its own that goes with it, and a port that was free. Nothing is a service of
the machine's. A test that uses one is marked `service`; where its program is missing it fails, and
says what installs it. The session's own servers are for tests that leave them running; a test that
stops or breaks one starts its own, with `running_redis` or `running_postgres`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

import services

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a Redis that loses nothing when it crashes."""
START_SECONDS = 30.0
STOP_SECONDS = 20.0
_TRIES = 3
_S = TypeVar("_S", bound="Server")
_NUMBERS = itertools.count(1)


class ServerError(Exception):
    """A server did not do what a test needs."""


class Server(ABC):
    """A process that serves on loopback, until it is stopped, killed or paused.

    Attributes:
        port: Where; the same after every restart.
        folder: Its data and its log.
        before: Words before its command, `["env", "TZ=UTC"]`; read at each start.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self.options = list(options)
        self.before: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []
        self._has_run = False

    # -- what differs --

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether it answers."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    def user(self) -> str | None:
        """Name who runs it; None for the one who runs the tests."""
        return None

    # -- life --

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it on what its folder holds, and return when it answers.

        Raises:
            ServerError: It ends at once, or does not answer in time; its log is in the text.
        """
        for _ in range(_TRIES):
            said = self._try_to_start()
            if said is None:
                self._has_run = True
                return
            if self._has_run or "in use" not in said:
                break
            self.port = free_port()  # somebody was quicker
        raise ServerError(f"{self.command()[0]}:\n{said}")

    def _try_to_start(self) -> str | None:
        """Start it; return its log when it does not come to answer."""
        log = self.folder / "log"
        user = self.user()
        with log.open("wb") as output:
            process = self._process = subprocess.Popen(
                [*self.before, *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        give_up_at = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < give_up_at:
            if self.is_ready():
                return None
            time.sleep(0.01)
        self.kill()
        return log.read_text()[-3000:]

    def stop(self) -> None:
        """End it in good order: what it keeps is on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it in good order, and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop it and its children in their tracks: connections stand, nothing is answered."""
        self._paused = [self.pid, *_children(self.pid)]
        for pid in self._paused:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for pid in self._paused:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._paused = []

    def _end(self, signal_number: int) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(signal_number)
        self.resume()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None


class RedisServer(Server):
    """Redis or Valkey. It saves at no time of its own, and keeps all when it is stopped.

    Attributes:
        options: Words of its command line, `["--maxmemory", "1mb"]`; read at each start.
    """

    def command(self) -> list[str]:
        return [
            program("Redis or Valkey"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--unixsocket", str(self.folder / "socket"), "--save", "3600 1000000"),
            *self.options,
        ]

    def is_ready(self) -> bool:
        # Wanting a password is an answer too.
        return self.ask("PING").startswith(("+PONG", "-NOAUTH"))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def dump(self) -> Path:
        """Where `SAVE` puts what it holds."""
        return self.folder / "dump.rdb"

    def ask(self, command: str) -> str:
        """Return the raw answer to a command in one line; empty when it does not answer."""
        with contextlib.suppress(OSError), self._connection() as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(65536).decode()
        return ""

    def _connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)


class PostgresServer(Server):
    """PostgreSQL that asks no password and does not wait for the disk.

    What is committed survives its own crash, though not the machine's.

    Attributes:
        options: Settings, `["max_connections=200"]`; read at each start.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        super().__init__(folder, options)
        user = self.user()
        if user is not None:
            shutil.chown(folder, user=user)
        self._create()

    def _create(self) -> None:
        self._run("initdb", "--pgdata=data", "--username=tollspan", "--auth=trust", "--no-sync")

    def user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        names = {one.pw_name for one in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"

    def command(self) -> list[str]:
        settings = [
            *("listen_addresses=127.0.0.1", f"port={self.port}", "fsync=off"),
            *("unix_socket_directories=", *self.options),
        ]
        words = [word for setting in settings for word in ("-c", setting)]
        return [program("PostgreSQL"), "-D", "data", *words]

    def is_ready(self) -> bool:
        asked = ("--host=127.0.0.1", f"--port={self.port}", "--timeout=2", "--quiet")
        return subprocess.run([_beside("pg_isready"), *asked], check=False).returncode == 0

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return where clients find one of its databases."""
        return f"postgresql://tollspan@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """End it in good order, whoever is connected."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all of its processes as a crash does, and return when they are gone."""
        if self._process is None:
            return
        self.pause()  # lest it has a child that is not known here
        children = self._paused[1:]
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().kill()
        while any(map(_is_alive, children)):
            time.sleep(0.005)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; return its rows as psql writes them, fields parted by `|`."""
        asked = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement)
        return self._run("psql", self.url_of(database), *asked, "--set=ON_ERROR_STOP=1")

    def _run(self, name: str, *words: str) -> str:
        user = self.user()
        done = subprocess.run(
            [_beside(name), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        if done.returncode != 0:
            raise ServerError(f"{name}: {done.stderr}")
        return done.stdout.strip()


class StandbyServer(PostgresServer):
    """A copy of a PostgreSQL that follows it, without being waited for, until it is promoted."""

    def __init__(self, folder: Path, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(folder)

    def _create(self) -> None:
        self._run(
            *("pg_basebackup", "--pgdata=data", f"--dbname={self._primary.url}", "--no-sync"),
            *("--write-recovery-conf", "--checkpoint=fast"),
        )


class PgBouncerServer(Server):
    """PgBouncer in transaction mode, before every database of a PostgreSQL, with two connections.

    What comes from one client's connection reaches now this, now that one of the server's.
    """

    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        super().__init__(folder)
        self._postgres = postgres
        (folder / "ini").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={postgres.port} user=tollspan
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = 2
            max_client_conn = 500
            """
        )
        user = self.user()
        if user is not None:
            shutil.chown(folder, user=user)

    def user(self) -> str | None:
        return self._postgres.user()

    def command(self) -> list[str]:
        return [program("PgBouncer"), "ini"]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    @property
    def url(self) -> str:
        return self._postgres.url.replace(str(self._postgres.port), str(self.port))


def program(name: str) -> str:
    """Return the path of a service's server.

    Raises:
        ServerError: It is not installed.
    """
    service = next(one for one in services.SERVICES if one.name == name)
    path = services.find(service)
    if path is None:
        raise ServerError(f"{name} is not installed: run `python3 scripts/services.py`")
    return str(path)


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _beside(name: str) -> str:
    return str(Path(program("PostgreSQL")).with_name(name))


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def _is_alive(pid: int) -> bool:
    """Say whether a process still runs, which a zombie does not."""
    asked = ("ps", "-o", "stat=", "-p", str(pid))
    state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that another user may reach, unlike pytest's, and whose name is short.

    The path of a socket in it may have about 100 characters.
    """
    path = Path(tempfile.mkdtemp(prefix="tollspan-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _running(server: _S, before: Sequence[str] = ()) -> Iterator[_S]:
    server.before = before
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def running_redis(*options: str, before: Sequence[str] = ()) -> Iterator[RedisServer]:
    """Run a Redis of the caller's own."""
    with _folder() as folder, _running(RedisServer(folder, options), before) as server:
        yield server


@contextlib.contextmanager
def running_postgres(*options: str, before: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """Run a PostgreSQL of the caller's own."""
    with _folder() as folder, _running(PostgresServer(folder, options), before) as server:
        yield server


@contextlib.contextmanager
def running_standby(primary: PostgresServer) -> Iterator[StandbyServer]:
    """Run a standby of a PostgreSQL."""
    with _folder() as folder, _running(StandbyServer(folder, primary)) as server:
        yield server


@contextlib.contextmanager
def running_pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncerServer]:
    """Run a PgBouncer before a PostgreSQL."""
    with _folder() as folder, _running(PgBouncerServer(folder, postgres)) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Run one Redis for all tests that leave it running."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Empty the session's Redis, and name it."""
    assert redis_server.ask("FLUSHALL") == "+OK\r\n"
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for all tests that leave it running."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Name a new, empty database of the session's PostgreSQL; it is dropped afterwards."""
    name = f"test_{next(_NUMBERS)}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    yield postgres_server.url_of(name)
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")
