"""Streams that are open when the program ends, and garbage collected in awkward places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.integration.openai.programs import ENDS, HEAD, SPANS

WORDS = ("one", " two", " three", " four", " five", " six")
CODES = {"sys.exit": 3, "sys.exit in the loop": 3, "an unhandled exception": 1}


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """A provider that falls silent after five of six words."""
    with FakeOpenAI(Reply(chunks=WORDS, stall_after_chunks=5)) as server:
        yield server


@pytest.mark.parametrize("name", ENDS)
def test_a_stream_that_is_open_at_exit_is_billed_from_what_arrived(
    tmp_path: Path, fake: FakeOpenAI, name: str
) -> None:
    harness.write_rules(tmp_path)
    environment = harness.environment(tmp_path, fake.base_url)
    done = harness.run(harness.program(HEAD + ENDS[name]), environment, timeout_seconds=30)
    assert done.returncode == CODES.get(name, 0), done.stderr
    assert "tollspan" not in done.stderr
    (event,) = harness.usage_events(tmp_path)
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.usage.output > 0
    balance = harness.balance(tmp_path)
    assert balance.held == balance.unresolved == 0
    assert balance.posted == event.cost.amount_nanousd


def test_garbage_collected_inside_a_span_processors_lock_does_not_deadlock(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    harness.write_rules(tmp_path)
    environment = harness.environment(tmp_path, fake.base_url)
    done = harness.run(harness.program(HEAD + SPANS), environment, timeout_seconds=30)
    assert done.stdout == "done\n", done.stderr
    events = harness.usage_events(tmp_path)
    assert len(events) >= 6
    assert {event.outcome.status for event in events} == {"partial"}
    assert harness.balance(tmp_path).held == 0
