"""What budgets in code say when a shared authority is not open, or out of reach: what calls get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tests.services import running_redis
from tollspan.api import (
    GateUnavailableError,
    LedgerError,
    gate,
    is_within_limit,
    max_tokens,
    remaining,
)
from tollspan.budget import LeaseSettings
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.ledger import open_authority

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 20}
SAYS: Any = [{"role": "user", "content": "hi"}]
NOWHERE = "redis://127.0.0.1:1/0"
LONG = {"TOLLSPAN_LEASE": "idle=60"}


@contextmanager
def ruled(home: Path, authority: str, on_unavailable: str, **env: str) -> Iterator[None]:
    """Install with one budget and an authority."""
    harness.write_rules(
        home,
        text=f"""
        version: 1
        authority: {authority}
        defaults: {{on_unavailable: {on_unavailable}}}
        budgets: [{{id: all, limit: 1 USD}}, {{id: watched, limit: 1 USD, on_exceed: warn}}]
        hosts: {{127.0.0.1: openai}}
        """,
    )
    try:
        install_or_raise(read_settings({"TOLLSPAN_HOME": str(home), **env}))
        yield
    finally:
        uninstall()


def check() -> tuple[str, bool]:
    """Return what a check says: the action, and whether the call would go out."""
    found = gate.check(messages=SAYS, **ASKED)
    return found.action, found.is_allowed


def say(client: OpenAI) -> None:
    client.chat.completions.create(messages=SAYS, **ASKED)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def test_out_of_reach_a_check_says_what_on_unavailable_decides(tmp_path: Path) -> None:
    with ruled(tmp_path, NOWHERE, "deny"):
        assert check() == ("deny", False)
        assert isinstance(gate.check(messages=SAYS, **ASKED).denial, GateUnavailableError)
        assert not is_within_limit(model="gpt-4o-mini")
    with ruled(tmp_path, NOWHERE, "allow"):
        assert check() == ("allow", True)
        assert is_within_limit(model="gpt-4o-mini")
    with ruled(tmp_path, NOWHERE, "{allow_up_to: 5%}"):  # of which nothing was granted yet
        assert check() == ("deny", False)
        assert not is_within_limit(model="gpt-4o-mini")


def test_out_of_reach_nobody_knows_what_remains(tmp_path: Path) -> None:
    with ruled(tmp_path, NOWHERE, "allow"):
        with pytest.raises(LedgerError):
            remaining(model="gpt-4o-mini")
        with pytest.raises(LedgerError):
            max_tokens("gpt-4o-mini", messages=SAYS)


@pytest.mark.service
def test_an_authority_that_is_not_open_lets_nothing_through_in_a_check_either(
    tmp_path: Path, fake: FakeOpenAI, redis_url: str
) -> None:
    client = OpenAI(base_url=fake.base_url, api_key="k", max_retries=0)
    with ruled(tmp_path, redis_url, "deny", TOLLSPAN_ACQUIRE_TIMEOUT="5"):
        assert check() == ("deny", False)
        assert not is_within_limit(model="gpt-4o-mini")
        with pytest.raises(LedgerError, match="tollspan authority open"):
            remaining(model="gpt-4o-mini")
        with pytest.raises(GateUnavailableError):
            say(client)
        authority = open_authority(redis_url, LeaseSettings())
        authority.open_epoch()
        authority.close()
        assert check() == ("allow", True)
        assert is_within_limit(model="gpt-4o-mini")
        say(client)
    client.close()


@pytest.mark.service
def test_what_is_leased_is_let_through_by_a_check_as_by_the_gate(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    client = OpenAI(base_url=fake.base_url, api_key="k", max_retries=0)
    with (
        running_redis() as server,
        ruled(tmp_path, server.url, "deny", TOLLSPAN_ACQUIRE_TIMEOUT="5", **LONG),
    ):
        authority = open_authority(server.url, LeaseSettings())
        authority.open_epoch()
        authority.close()
        say(client)  # and three more are leased
        server.kill()
        assert check() == ("allow", True)
        assert is_within_limit(model="gpt-4o-mini")
        too_much = gate.check(messages=SAYS, model="gpt-4o-mini", max_tokens=10_000)
        assert isinstance(too_much.denial, GateUnavailableError)
        say(client)
        wait_until(lambda: len(harness.usage_events(tmp_path)) == 2)
    client.close()
