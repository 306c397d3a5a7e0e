"""Which Python a command runs in, and which of its flags switch the start-up off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tollspan.launch import _run


@pytest.mark.parametrize(
    ("arguments", "flags", "culprit"),
    [
        pytest.param(["app.py", "-I"], [], None, id="the script's own flags"),
        pytest.param(["-c", "x"], [], None, id="code"),
        pytest.param(["-m", "mod", "-S"], [], None, id="a module"),
        pytest.param(["-Ic", "x"], ["-I"], "-I", id="code, flags before it"),
        pytest.param(["-uIm", "mod"], ["-uI"], "-uI", id="a module, flags before it"),
        pytest.param(
            ["-X", "dev", "-S", "a.py"], ["-X", "dev", "-S"], "-S", id="an option's value"
        ),
        pytest.param(
            ["-Xdev", "-Wignore", "a.py"], ["-Xdev", "-Wignore"], None, id="joined values"
        ),
        pytest.param(["-W", "error::ImportWarning", "a.py"], ["-W", "error::ImportWarning"], None),
        pytest.param(["-uE", "-"], ["-uE"], "-uE", id="standard input"),
        pytest.param([], [], None, id="none"),
    ],
)
def test_flags_of_python_itself_are_told_from_the_programs(
    arguments: list[str], flags: list[str], culprit: str | None
) -> None:
    python = _run._python_of("/usr/bin/python3.11", ["python3.11", *arguments])
    assert python == ["/usr/bin/python3.11", *flags]
    assert _run._flag_without_startup(python) == culprit


@pytest.mark.parametrize(
    ("first_line", "flags"),
    [
        pytest.param("#!/usr/bin/python3 -I", ["-I"], id="a flag"),
        pytest.param("#!/usr/bin/env python3", [], id="by env"),
        pytest.param("#!/usr/bin/env -S python3 -S", ["-S"], id="by env with a string"),
        pytest.param("#!/bin/sh", None, id="a shell"),
        pytest.param("\x7fELF", None, id="a binary"),
        pytest.param("#!'", None, id="nonsense"),
    ],
)
def test_a_scripts_first_line_names_its_python(
    tmp_path: Path, first_line: str, flags: list[str] | None
) -> None:
    script = tmp_path / "app"
    script.write_text(f"{first_line}\n")
    found = _run._python_of(str(script), ["app"])
    assert (found and found[1:]) == flags
