"""What a terminal shows, and what a pipe, a file and a screen without colours get."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.books import EVERY_KIND, write

TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
_COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def shown(home: Path) -> Path:
    """A home with every kind of event, and a budget."""
    write(home, *EVERY_KIND)
    (home / "tollspan.yaml").write_text("version: 1\nbudgets: [{id: all, limit: 1 USD}]\n")
    return home


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment that says nothing of terminals, but for what is given."""
    hidden = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "TERM": "xterm-256color", "TOLLSPAN_HOME": str(home), **more}


def on_terminal(env: dict[str, str], *arguments: str) -> str:
    """Run a command on a terminal of its own, and return what it wrote there."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [TOLLSPAN, *arguments], env=env, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            written = b""
            while True:
                try:
                    read = os.read(ours, 65_536)
                except OSError:  # the other end is closed
                    break
                if not read:
                    break
                written += read
            assert process.wait(60) == 0, written
    finally:
        os.close(ours)
    return written.decode().replace("\r\n", "\n")


def in_pipe(env: dict[str, str], *arguments: str) -> str:
    """Run a command in a pipe, and return what it printed."""
    done = subprocess.run(
        [TOLLSPAN, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_terminal_gets_colours_and_bars(shown: Path) -> None:
    env = environment(shown, COLUMNS="200")
    events = on_terminal(env, "events")
    assert _COLOUR.search(events) is not None
    assert "unattributed" in events
    assert "░" in on_terminal(env, "budgets")
    assert _COLOUR.search(on_terminal(env, "doctor")) is not None


def test_no_color_takes_the_colours_away(shown: Path) -> None:
    budgets = on_terminal(environment(shown, COLUMNS="200", NO_COLOR="1"), "budgets")
    assert _COLOUR.search(budgets) is None
    assert "░" in budgets


@pytest.mark.parametrize("command", ["events", "report", "budgets", "doctor"])
def test_a_pipe_gets_plain_text(shown: Path, command: str) -> None:
    output = in_pipe(environment(shown), command)
    assert "\x1b" not in output
    assert not set("░█━─│") & set(output)
    assert not any(line.endswith(" ") for line in output.splitlines())


def test_a_dumb_terminal_and_one_without_the_library_get_the_same(
    shown: Path, tmp_path: Path
) -> None:
    plain = in_pipe(environment(shown), "report", "--by", "customer")
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'rich' else find(name, *rest)\n"
    )
    for env in (environment(shown, TERM="dumb"), environment(shown, PYTHONPATH=str(blocked))):
        assert on_terminal(env, "report", "--by", "customer") == plain


def test_a_terminal_and_a_pipe_show_the_same_words(shown: Path) -> None:
    plain = in_pipe(environment(shown), "report", "--by", "customer")
    fine = _ESCAPE.sub(
        "", on_terminal(environment(shown, COLUMNS="200"), "report", "--by", "customer")
    )
    assert re.findall(r"[\w.]+", fine) == re.findall(r"[\w.]+", plain)


def test_a_narrow_terminal_leaves_columns_out_and_breaks_no_line(shown: Path) -> None:
    wide = _ESCAPE.sub("", on_terminal(environment(shown, COLUMNS="200"), "events"))
    narrow = _ESCAPE.sub("", on_terminal(environment(shown, COLUMNS="80"), "events"))
    assert len(narrow.splitlines()) == len(wide.splitlines()) == 2 + len(EVERY_KIND)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    titles = narrow.splitlines()[0].split()
    assert titles == ["time", "customer", "model", "outcome", "cost", "USD"]
    assert narrow.splitlines()[2].split()[-1] == "0.000001"


def test_output_is_in_utf8_in_any_locale(shown: Path) -> None:
    env = environment(shown, LC_ALL="C", PYTHONIOENCODING="ascii", TOLLSPAN_CUSTOMER="Zoë")
    assert "customer" in in_pipe(env, "events", "--json")


def test_shells_are_told_how_a_word_may_end(shown: Path) -> None:
    line = "tollspan eve"
    env = environment(
        shown, _ARGCOMPLETE="1", COMP_LINE=line, COMP_POINT=str(len(line)),
        _ARGCOMPLETE_STDOUT_FILENAME=str(shown / "answer"), _ARGCOMPLETE_IFS="\n",
    )  # fmt: skip
    subprocess.run([TOLLSPAN], env=env, timeout=60, check=False, capture_output=True)
    assert (shown / "answer").read_text().strip() == "events"
