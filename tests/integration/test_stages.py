"""A stage runs a real command: how it ends, and what is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import stages
from environment import VENV
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not (VENV / "bin" / "python").is_file(), reason="run through make, which sets up .venv"
)


def stage(
    program: str, *, name: str = "probe", minutes: float = 1, is_alone: bool = False
) -> stages.Stage:
    return stages.Stage(
        name=name,
        command=("python", "-c", program),
        warm_minutes=minutes,
        fresh_minutes=minutes,
        is_alone=is_alone,
    )


@pytest.mark.parametrize(
    ("program", "result"),
    [
        pytest.param("pass", "ok", id="a command that succeeds"),
        pytest.param("raise SystemExit(1)", "FAILED", id="a command that fails"),
        pytest.param("raise SystemExit(5)", "FAILED", id="a code that only pytest means well"),
    ],
)
def test_a_stage_ends_as_its_command_does(program: str, result: str, tmp_path: Path) -> None:
    runner = stages.Runner(tmp_path, is_fresh=False)
    assert [row.result for row in runner.run([stage(program)])] == [result]


def test_a_stage_beyond_its_limit_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    program = (
        "import subprocess, sys, pathlib\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(child.pid))\n"
        "child.wait()"
    )
    (row,) = stages.Runner(tmp_path, is_fresh=False).run([stage(program, minutes=2 / 60)])
    assert row.result == "TOO LONG"
    assert 2 <= row.seconds < 30
    # "Z" is a dead process that nobody has waited for.
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", child.read_text()], capture_output=True, text=True, check=False
    )
    assert state.stdout.strip()[:1] in {"", "Z"}


MEET = """
import pathlib, time
pathlib.Path({mine!r}).touch()
give_up_at = time.monotonic() + {patience}
while not pathlib.Path({other!r}).exists():
    assert time.monotonic() < give_up_at, "nobody came"
    time.sleep(0.01)
print("met", {mine!r}, sep=" ", end="!")
"""


def meet(folder: Path, mine: str, other: str, patience: float) -> str:
    """Write a program that waits for another one."""
    return MEET.format(mine=str(folder / mine), other=str(folder / other), patience=patience)


def test_stages_that_bear_company_run_side_by_side_and_say_their_piece_in_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pair = [
        stage(meet(tmp_path, "one", "two", 30), name="one"),
        stage(meet(tmp_path, "two", "one", 30), name="two"),
    ]
    rows = stages.Runner(tmp_path, is_fresh=False).run(pair)
    assert [(row.name, row.result) for row in rows] == [("one", "ok"), ("two", "ok")]
    said = capsys.readouterr().out
    for name in ("one", "two"):
        assert said.count(f"met {tmp_path / name}!--- {name}: ok after") == 1


def test_a_stage_that_wants_to_be_alone_is(tmp_path: Path) -> None:
    pair = [
        stage(meet(tmp_path, "one", "two", 0.5), name="one"),
        stage(meet(tmp_path, "two", "none", 0.5), name="two", is_alone=True),
    ]
    rows = stages.Runner(tmp_path, is_fresh=False).run(pair)
    assert [row.result for row in rows] == ["FAILED", "FAILED"]


INTERRUPTED = """
import pathlib, sys
sys.path.insert(0, {scripts!r})
import stages
pair = [
    stages.Stage(name=name, command=("python", "-c", program), warm_minutes=1, fresh_minutes=1)
    for name, program in {programs!r}.items()
]
stages.Runner(pathlib.Path({folder!r}), is_fresh=False).run(pair)
"""


def test_an_interrupt_ends_the_stages_that_run_side_by_side(tmp_path: Path) -> None:
    programs = {
        name: f"import os, pathlib, time; pathlib.Path({str(tmp_path / name)!r})"
        ".write_text(str(os.getpid())); time.sleep(60)"
        for name in ("one", "two")
    }
    scripts = str(Path(stages.__file__).parent)
    code = INTERRUPTED.format(scripts=scripts, programs=programs, folder=str(tmp_path))
    runner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    names = ("one", "two") if (os.cpu_count() or 1) > 1 else ("one",)
    wait_until(lambda: all((tmp_path / name).exists() for name in names), timeout_seconds=30)
    wait_until(lambda: all((tmp_path / name).read_text() for name in names))
    runner.send_signal(signal.SIGINT)
    assert runner.wait(30) != 0
    for name in names:
        assert not Path(f"/proc/{(tmp_path / name).read_text()}/cmdline").exists()


def test_a_broken_run_of_tests_is_counted_as_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = stages.Stage(
        name="broken",
        command=("python", "-m", "pytest", "--no-such"),
        warm_minutes=1,
        fresh_minutes=1,
    )
    monkeypatch.setattr(stages, "table", lambda plan: (broken,))
    assert stages.main("core") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_passed_failed_and_skipped_are_added_up(tmp_path: Path) -> None:
    for tier in ("unit", "e2e"):
        (tmp_path / f"{tier}.xml").write_text(
            '<testsuites><testsuite tests="9" failures="1" errors="1" skipped="2"/></testsuites>'
        )
    assert stages.count(sorted(tmp_path.glob("*.xml"))) == (10, 4, 4)
