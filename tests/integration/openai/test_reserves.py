"""What bounds a call whose bytes do not: the context window, a declared reserve, or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.openai.stage import Stage
from tollspan.budget import parse_rules
from tollspan.safety import internal_errors
from tollspan.usage import UnboundedCallError

IMAGE = [
    {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
    }
]
ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": IMAGE, "max_tokens": 10}


def bound(stage: Stage, **options: Any) -> int:
    """Ask about an image, and return what was held for it."""
    stage.client().chat.completions.create(**ASKED, **options)
    found = stage.events()[-1].decision.bound_nanousd
    assert found is not None
    return found


def test_a_declared_reserve_takes_the_place_of_the_context_window(stage: Stage) -> None:
    by_window = bound(stage)
    by_reserve = bound(stage, extra_body={"tollspan": {"input_reserve_tokens": 2_000}, "top_k": 5})
    assert by_reserve < by_window / 10
    sent = stage.fake.requests[-1].json
    assert isinstance(sent, dict)
    assert "tollspan" not in sent
    assert sent["top_k"] == 5


def test_a_callers_own_body_is_left_as_it_is(stage: Stage) -> None:
    body: dict[str, Any] = {"tollspan": {"input_reserve_tokens": 2_000}}
    bound(stage, extra_body=body)
    assert body == {"tollspan": {"input_reserve_tokens": 2_000}}


@pytest.mark.parametrize("ours", [{"input_reserve_tokens": "many"}, {"reserve": 5}, "x"])
def test_a_reserve_that_makes_no_sense_is_left_out_and_said(
    stage: Stage, ours: object, caplog: pytest.LogCaptureFixture
) -> None:
    internal_errors.clear()
    assert bound(stage, extra_body={"tollspan": ours}) == bound(stage)
    assert "tollspan" not in str(stage.fake.requests[-2].json)
    assert sum(internal_errors.values()) == 1
    internal_errors.clear()


def test_rules_may_refuse_what_has_no_bound(stage: Stage) -> None:
    stage.installed.gate.use(
        parse_rules(
            """
            version: 1
            defaults: {on_unbounded_input: deny}
            budgets: [{id: all, limit: 100 USD}]
            """
        )
    )
    client = stage.client()
    with pytest.raises(UnboundedCallError, match="input_reserve_tokens"):
        client.chat.completions.create(**ASKED)
    assert stage.fake.hits == 0
    bound(stage, extra_body={"tollspan": {"input_reserve_tokens": 2_000}})
    client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=10
    )
    assert stage.fake.hits == 2
