"""`tollspan events --follow` as a process: no ledger yet, a rebuild, a closed pipe, a signal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.books import EVERY_KIND, call, denied, used, write
from tollspan.cli import main
from tollspan.ledger import LEDGER_FILE, rebuild

TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
_WAIT_SECONDS = 20.0


class Follower:
    """A running `tollspan events --follow`."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [TOLLSPAN, "events", "--follow", *options],
            env={**os.environ, "TOLLSPAN_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
        )
        self._rest = b""

    def line(self) -> str:
        """Return the next line; fails when none comes in time."""
        assert self.process.stdout is not None
        give_up_at = time.monotonic() + _WAIT_SECONDS
        while b"\n" not in self._rest:
            left = give_up_at - time.monotonic()
            assert left > 0, f"no line came; it said {self._rest!r}"
            if select.select([self.process.stdout], [], [], left)[0]:
                read = os.read(self.process.stdout.fileno(), 65_536)
                assert read, self.end()
                self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def number(self) -> int:
        """Return the number of the next line's call."""
        return int(json.loads(self.line())["call_id"], 16)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=_WAIT_SECONDS)
        return self.process.returncode, errors.decode()


@pytest.fixture
def followers() -> Iterator[list[Follower]]:
    """Followers, which are ended whatever happens."""
    started: list[Follower] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=_WAIT_SECONDS)


def test_events_are_followed_from_before_there_is_a_ledger(
    home: Path, followers: list[Follower]
) -> None:
    followers.append(Follower(home))
    follower = followers[0]
    assert follower.line().startswith("time")  # it has looked, and found no ledger
    write(home, used(call(1)), denied(call(2)))
    assert follower.line().endswith(f"{1:032x}")
    assert " denied " in follower.line()
    rebuild(home / LEDGER_FILE)
    write(home, used(call(3)))
    assert follower.line().endswith(f"{3:032x}")
    assert follower.end() == (130, "")


def test_following_starts_at_the_end_or_where_it_is_asked_to(
    home: Path, followers: list[Follower]
) -> None:
    write(home, *EVERY_KIND)
    followers += [
        Follower(home, "--json", "-n", "2", "--customer", "acme"),
        Follower(home, "--json", "--since", "2026-11-22T17:00:00Z"),
        Follower(home),
    ]
    acme, since, table = followers
    assert [acme.number(), acme.number()] == [6, 7]
    assert [since.number() for _ in range(3)] == [5, 6, 7]
    assert table.line().split() == [
        "time",
        "customer",
        "model",
        "outcome",
        "in",
        "out",
        "cost",
        "USD",
        "call",
    ]
    time.sleep(1.0)  # the table's follower has looked, and so starts behind what comes now
    write(home, used(call(8, customer="bolt")), used(call(9, customer="acme")))
    assert acme.number() == 9
    assert [since.number(), since.number()] == [8, 9]
    assert table.line().endswith(f"{8:032x}")
    assert {one.end()[0] for one in followers} == {130}


def test_a_closed_pipe_ends_it_without_a_word(home: Path, followers: list[Follower]) -> None:
    write(home, *EVERY_KIND)
    followers.append(Follower(home, "--json", "-n", "1"))
    process = followers[0].process
    assert followers[0].number() == 7
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    write(home, used(call(8)))
    assert process.wait(_WAIT_SECONDS) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_pipe_that_wants_one_line_is_no_trouble(home: Path) -> None:
    write(home, *(used(call(number)) for number in range(300)))
    done = subprocess.run(
        f"{TOLLSPAN} events --json | head -n 1",
        shell=True,
        env={**os.environ, "TOLLSPAN_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["type"] == "usage"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(home: Path) -> None:
    write(home, *EVERY_KIND)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [TOLLSPAN, "events", "--json"],
            env={**os.environ, "TOLLSPAN_HOME": str(home)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "tollspan: No space left on device\n")


def test_an_interrupt_ends_any_command_quietly(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert main(["events", "--follow", "--json"]) == 130
    assert capsys.readouterr() == ("", "")
