"""A program in JavaScript, with nothing but fetch, has budgets; a killed server loses no call."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.e2e.ingest import ServeCommand, rows, serving
from tests.fakes import FakeOpenAI
from tests.harness import ROOT
from tests.services import program

_RULES = "version: 1\nbudgets: [{id: customer, per: [customer], limit: 0.001 USD, window: month}]\n"
_LIMIT = 1_000_000
_HOLD_SECONDS = 7_200


def put_rules(server: ServeCommand, key: str) -> None:
    answer = ask(server, key, "PUT", "/v1/rules", _RULES.encode())
    assert answer.status_code == 201, answer.text


def ask(
    server: ServeCommand, key: str, method: str, path: str, data: bytes | None = None, **more: Any
) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.request(
        method, server.url + path, data=data, headers=headers, timeout=30, **more
    )


def standing(server: ServeCommand, key: str) -> dict[str, tuple[int, int, int]]:
    """Return what is posted, held and unresolved, by customer."""
    found: Any = server.ask("/v1/budgets?budget=customer", key)["budgets"]
    return {
        one["scope"]["customer"]: (int(one["posted"]), int(one["held"]), int(one["unresolved"]))
        for one in found
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeCommand]:
    home = tmp_path_factory.mktemp("any") / "server"
    with serving(home, "--hold-seconds", str(_HOLD_SECONDS)) as made:
        yield made


@pytest.fixture(scope="module")
def key(server: ServeCommand) -> str:
    """Make a key of a tenant that has rules."""
    made = server.make_key("ingest", "read", "admin")
    put_rules(server, made)
    return made


def test_a_call_may_take_as_long_as_the_operator_says(server: ServeCommand, key: str) -> None:
    asked_at = datetime.now(UTC)
    question = b"""{"call_id": "slow-1", "provider": "openai", "model": "gpt-4o-mini",
        "max_input_tokens": 9, "max_output_tokens": 9, "attribution": {"customer": "slow"}}"""
    answer = ask(server, key, "POST", "/v1/authorize", question).json()
    ends_at = datetime.fromisoformat(answer["expires_at"])
    assert _HOLD_SECONDS <= (ends_at - asked_at).total_seconds() < _HOLD_SECONDS + 60
    cancel = b'{"call_id": "slow-1", "cancel": true}'
    assert ask(server, key, "POST", "/v1/settle", cancel).json()["status"] == "cancelled"


@pytest.mark.service
def test_a_program_in_javascript_spends_its_budget_and_no_more(
    server: ServeCommand, key: str
) -> None:
    node = program("Node.js")
    with FakeOpenAI() as fake:
        env = {
            **os.environ,
            "TOLLSPAN_ENDPOINT": server.url,
            "TOLLSPAN_API_KEY": key,
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": "sk-test",
            "CUSTOMER": "acme",
        }
        script = str(ROOT / "examples" / "javascript" / "budget.mjs")
        done = subprocess.run(
            [node, script], env=env, capture_output=True, text=True, timeout=100, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        *calls, refused = done.stdout.splitlines()
        assert "refused: tollspan.budget_exceeded by customer" in refused
        costs = [int(one) for one in re.findall(r": (\d+) nano-USD", done.stdout)]
        assert len(costs) == len(calls) >= 1
        assert min(costs) > 0
        assert sum(costs) <= _LIMIT
        assert standing(server, key)["acme"] == (sum(costs), 0, 0)
        assert rows(server, key)["acme"] == (len(calls), sum(costs))
        events: Any = server.ask("/v1/events?kind=decision", key)["events"]
        assert [one["data"]["error_type"] for one in events] == ["tollspan.budget_exceeded"]


def test_a_server_that_is_killed_between_the_two_questions_loses_nothing(
    server: ServeCommand, key: str
) -> None:
    asked = {
        "call_id": "c", "provider": "openai", "model": "gpt-4o-mini", "max_input_tokens": 100,
        "max_output_tokens": 100, "attribution": {"customer": "bob"},
    }  # fmt: skip
    first = ask(server, key, "POST", "/v1/authorize", json=asked)
    bound = int(first.json()["bound_nanousd"])
    server.kill()
    server.start()
    assert standing(server, key)["bob"] == (0, bound, 0)
    assert ask(server, key, "POST", "/v1/authorize", json=asked).content == first.content
    said = {"call_id": "c", "usage": {"input_uncached": 50, "output": 20}}
    settled = ask(server, key, "POST", "/v1/settle", json=said)
    cost = 50 * 150 + 20 * 600
    assert settled.json()["cost_nanousd"] == str(cost)
    assert ask(server, key, "POST", "/v1/settle", json=said).content == settled.content
    assert standing(server, key)["bob"] == (cost, 0, 0)
    assert rows(server, key)["bob"] == (1, cost)
