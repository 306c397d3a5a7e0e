"""What tests of outages look at: calls denied or let through, and events that come back."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.api import GateUnavailableError
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.ledger import rescued_files
from tollspan.usage import LedgerError, UsageEvent

RULES = """
version: 1
defaults: {{on_unavailable: {rule}}}
budgets:
  - {{id: all, limit: {limit} USD}}
hosts: {{127.0.0.1: openai}}
"""
LONGEST_WAIT_SECONDS = 0.25 + 2.0
"""What a call may lose on a ledger that others keep locked: asking, and storing its event."""


@contextmanager
def installed(home: Path, *, rule: str, limit: str = "100") -> Iterator[Installed]:
    """Install with one budget, its rules kept elsewhere than the home."""
    document = home.parent / "rules.yaml"
    document.write_text(RULES.format(rule=rule, limit=limit))
    settings = read_settings({"TOLLSPAN_HOME": str(home), "TOLLSPAN_CONFIG": str(document)})
    try:
        yield install_or_raise(settings)
    finally:
        uninstall()


def call(fake: FakeOpenAI) -> str | None:
    """Make one call of the real SDK; return its text."""
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
        )
    return answer.choices[0].message.content


def see_calls_denied(fake: FakeOpenAI) -> None:
    """See that a call is denied, at once, and never sent."""
    hits = fake.hits
    began = time.monotonic()
    with pytest.raises(GateUnavailableError):
        call(fake)
    assert time.monotonic() - began < LONGEST_WAIT_SECONDS
    assert fake.hits == hits


def see_calls_allowed(fake: FakeOpenAI, *, number: int = 3) -> None:
    """See that calls go through, without a delay worth the name."""
    for _ in range(number):
        began = time.monotonic()
        assert call(fake)
        assert time.monotonic() - began < LONGEST_WAIT_SECONDS


def shouts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said at the level of an error about the ledger."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR and record.name == "tollspan.ledger"
    ]


def marks(event: UsageEvent) -> bool:
    """Say whether an event says of itself that the gate could not be asked."""
    return event.decision.is_unavailable and "unavailable" in event.marks


def events_in(home: Path) -> int:
    """Count the usage events of a ledger that may not be there yet."""
    with contextlib.suppress(LedgerError):
        return len(harness.usage_events(home))
    return 0


def denials_in(home: Path) -> int:
    """Count the refusals of a ledger that may not be there yet."""
    with contextlib.suppress(LedgerError):
        return len(harness.denials(home))
    return 0


def see_everything_come_back(home: Path, fake: FakeOpenAI, *, calls: int) -> None:
    """See that every event is in the ledger, once, and every sum is right."""
    wait_until(lambda: events_in(home) == calls)
    # A file goes after its event is in the ledger, so that a kill in between loses nothing.
    wait_until(lambda: rescued_files(home) == ())
    balance = harness.balance(home)
    assert balance.posted == fake.billed_nanousd
    wait_until(lambda: harness.balance(home).held == 0)
