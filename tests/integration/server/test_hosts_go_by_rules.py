"""A host whose rules are on the server: denied by a budget there, let through once it is raised."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from openai import OpenAI

from tests.e2e import spending
from tests.fakes import FakeOpenAI
from tests.serving import RunningServer, running_server
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.usage import BudgetExceededError


def put(server: RunningServer, limit: str) -> None:
    text = f"version: 1\nhosts: {{127.0.0.1: openai}}\nbudgets: [{{id: all, limit: {limit} USD}}]\n"
    headers = {"Content-Type": "application/yaml"}
    assert server.ask("PUT", "/v1/rules", data=text.encode(), headers=headers).status == 201


def ask(fake: FakeOpenAI) -> None:
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        spending.ask(client, 0, size=8)


def test_a_budget_that_is_raised_on_the_server_lets_calls_through_within_seconds(
    tmp_path: Path,
) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server, FakeOpenAI() as fake:
        put(server, "0")
        install_or_raise(
            read_settings(
                {
                    "TOLLSPAN_HOME": str(tmp_path / "host"),
                    "TOLLSPAN_CONFIG": f"{server.url}/v1/rules",
                    "TOLLSPAN_ENDPOINT": server.url,
                    "TOLLSPAN_API_KEY": server.make_key("acme", "ingest"),
                }
            )
        )
        try:
            with pytest.raises(BudgetExceededError):
                ask(fake)
            assert fake.hits == 0
            put(server, "100")
            raised_at = time.monotonic()
            while not fake.hits:
                assert time.monotonic() - raised_at < 15
                try:
                    ask(fake)  # the answer to the refusal's event names the new rules
                except BudgetExceededError:
                    time.sleep(0.1)
        finally:
            uninstall()
