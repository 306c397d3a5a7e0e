"""Customers whose names look like paths, queries, keys or SQL: each is one, and only that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI
from tests.fakes.anthropic_calls import message
from tests.fakes.calls import chat
from tollspan.api import (
    BudgetExceededError,
    SessionLimitExceededError,
    TagBudgetExceededError,
    attribution,
)
from tollspan.budget import read_scope
from tollspan.ledger import LEDGER_FILE, LedgerReader

NAMES = (
    "a:b",
    "a",
    "b:2026-11-22",
    "a/../../admin",
    "../../../etc/passwd",
    "..",
    "/",
    "x?y",
    "x*",
    "x",
    "%2e%2e%2f",
    "a\\b",
    '"',
    "'; DROP TABLE events; --",
    '[["customer","a"]]',
    "none",
    "null",
    "0",
    "someone@example.com",
    "Ünïcode 客户",
    "ACME",
    "acme",
    " acme",
)


def files(folder: Path) -> set[str]:
    """Return every file below a folder."""
    return {
        os.path.relpath(Path(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    }


def test_every_name_has_an_account_a_limit_and_a_sum_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    budgets = (
        "{id: each, per: [customer], limit: 1 call}, {id: money, per: [customer], limit: 1 USD}"
    )
    with (
        FakeOpenAI() as fake,
        harness.installed(home, budgets=budgets),
        OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client,
    ):
        for number, name in enumerate(NAMES, 1):
            with attribution(customer=name):
                chat(client)
                with pytest.raises(BudgetExceededError) as caught:
                    chat(client)
            assert caught.value.scope == (("customer", name),)
            assert fake.hits == number
        each = fake.billed_nanousd // len(NAMES)
    reader = LedgerReader(home / LEDGER_FILE)
    report = {row.values[0]: (row.calls, row.denied) for row in reader.report(("customer",))}
    assert report == dict.fromkeys(NAMES, (1, 1))
    posted = {
        read_scope(one.account.scope): one.posted
        for one in reader.balances()
        if one.account.budget_id == "money"
    }
    assert posted == {(("customer", name),): each for name in NAMES}
    assert {event.call.attribution.customer for event in reader.events()} == set(NAMES)
    assert all(name.startswith("deep/home/") for name in files(tmp_path))
    assert {name.rpartition("/")[2].split(".")[0] for name in files(tmp_path)} <= {
        "ledger",
        "tollspan",
        "owners",
        "making-room",
    }


@pytest.mark.parametrize("name", ["a:b", "a/../../admin", "..", "someone@example.com"])
def test_a_rule_may_be_for_one_odd_name_alone(tmp_path: Path, name: str) -> None:
    budgets = f"{{id: one, where: {{customer: '{name}'}}, limit: 0 calls}}"
    with (
        FakeOpenAI() as fake,
        harness.installed(tmp_path, budgets=budgets),
        OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client,
    ):
        with attribution(customer=name), pytest.raises(BudgetExceededError):
            chat(client)
        for other in (name[:-1], f"{name}x", name.upper(), "admin"):
            if other and other != name:
                with attribution(customer=other):
                    chat(client)


@pytest.mark.parametrize(
    ("per", "said", "error"),
    [
        ("session", {"session": "s:1/../x"}, SessionLimitExceededError),
        ("tag.job", {"tags": {"job": "s:1/../x"}}, TagBudgetExceededError),
        ("customer", {"customer": "s:1/../x"}, BudgetExceededError),
    ],
)
def test_a_limit_is_shared_by_all_clients_of_all_providers(
    tmp_path: Path, per: str, said: dict[str, object], error: type[BudgetExceededError]
) -> None:
    import anthropic

    budgets = f"{{id: shared, per: [{per}], limit: 3 calls}}"
    with FakeOpenAI() as openai_fake, FakeAnthropic() as anthropic_fake:
        hosts = {
            openai_fake.base_url.split("/")[2]: "openai",
            anthropic_fake.base_url.split("/")[2]: "anthropic",
        }
        with harness.installed(tmp_path, budgets=budgets, hosts=hosts):
            with attribution(**said):  # type: ignore[arg-type]  # keywords of a test
                for _ in range(2):
                    with OpenAI(base_url=openai_fake.base_url, api_key="key") as client:
                        chat(client)
                with anthropic.Anthropic(base_url=anthropic_fake.base_url, api_key="key") as one:
                    message(one)
                    with pytest.raises(error):
                        message(one)
                client = OpenAI(base_url=openai_fake.base_url, api_key="key")
                with client, pytest.raises(error):
                    chat(client)
            with OpenAI(base_url=openai_fake.base_url, api_key="key") as client:
                chat(client)
        assert (openai_fake.hits, anthropic_fake.hits) == (3, 1)
