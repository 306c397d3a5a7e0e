"""A fake provider, and tollspan installed in this process with one budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tests.integration.openai.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything that a test of this folder needs."""
    with FakeOpenAI() as fake, harness.installed(tmp_path / "home") as installed:
        made = Stage(fake=fake, home=tmp_path / "home", installed=installed)
        yield made
        made.close()
