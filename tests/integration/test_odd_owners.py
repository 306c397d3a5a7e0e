"""Owners whose names are no good text are counted all the same: the gate never opens for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.fakes import FakeOpenAI
from tollspan.api import BudgetExceededError


@pytest.mark.parametrize("service", ["a\udcff", "\ud83d", "a\u2028b", '{"a":"b"}', "é", " "])
def test_each_service_has_its_budget_however_it_is_written(tmp_path: Path, service: str) -> None:
    rules = "{id: each, per: [service], limit: 1 call, warn_at: [1]}"
    with (
        FakeOpenAI() as fake,
        harness.installed(tmp_path, budgets=rules, OTEL_SERVICE_NAME=service),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):

        def say() -> None:
            ai.chat.completions.create(
                model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}]
            )

        say()
        with pytest.raises(BudgetExceededError) as caught:
            say()
        assert caught.value.scope == (("service", service),)
        str(caught.value).encode()
        assert fake.hits == 1
    assert harness.balance(tmp_path, "each").posted == 1
    assert len(harness.denials(tmp_path)) == 1
