"""Calls that name no limit of output go out with one, where the rules say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.calls import chat, stream
from tests.integration.openai.stage import Stage, ask
from tollspan.api import BudgetExceededError
from tollspan.launch import install_or_raise, read_settings, uninstall

MODEL_MAX = 16_384  # of gpt-4o-mini
RULES = """
version: 1
defaults: {{on_unbounded: inject}}
budgets: [{{id: all, limit: {limit} tokens}}]
hosts: {{127.0.0.1: openai}}
"""


@contextmanager
def open_stage(home: Path, fake: FakeOpenAI, *, limit: int) -> Iterator[Stage]:
    harness.write_rules(home, text=RULES.format(limit=limit))
    settings = read_settings({"TOLLSPAN_HOME": str(home)})
    try:
        stage = Stage(fake=fake, home=home, installed=install_or_raise(settings))
        yield stage
        stage.close()
    finally:
        uninstall()


@pytest.mark.parametrize("kind", ["sync", "stream", "async"])
@pytest.mark.parametrize(("limit", "is_least"), [(1_000_000, False), (3_000, True)])
def test_the_limit_is_the_models_own_or_what_fits(
    tmp_path: Path, kind: str, limit: int, is_least: bool
) -> None:
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, limit=limit) as stage:
        if kind == "sync":
            chat(stage.client())
        elif kind == "stream":
            list(stream(stage.client()))
        else:
            stage.run(ask)
        (request,) = fake.requests
        assert isinstance(request.json, dict)
        sent = request.json["max_completion_tokens"]
        assert (256 <= sent < 3_000) if is_least else sent == MODEL_MAX
        (event,) = stage.events()
        note = event.decision
        assert (note.clamped_from, note.clamped_to) == (None, sent)
        assert note.action == ("clamp" if is_least else "allow")


def test_the_callers_own_limit_is_left_alone(tmp_path: Path) -> None:
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, limit=3_000) as stage:
        chat(stage.client(), max_tokens=20)
        with pytest.raises(BudgetExceededError):
            chat(stage.client(), max_tokens=20_000)
        (request,) = fake.requests
        assert isinstance(request.json, dict)
        assert request.json["max_tokens"] == 20
        assert "max_completion_tokens" not in request.json
