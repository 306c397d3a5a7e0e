"""Has the Go programs built before the first test, whose time-out is not for that."""

from __future__ import annotations

from pathlib import Path

import pytest

import go_programs

_HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing, once, if any test of this folder is to run."""
    if session.config.option.collectonly:
        return
    if any(_HERE in item.path.parents for item in session.items):
        for program in (go_programs.collector(), go_programs.jaeger()):
            go_programs.ensure(program)
