"""What most of these tests stand on: a provider, and a temp folder of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeOpenAI


@pytest.fixture
def spare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the last resort for events a temp folder of its own."""
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    return spare


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve ordinary answers."""
    with FakeOpenAI() as started:
        yield started
