"""What `on_exceed` may say, and what is said of what it may not."""

from __future__ import annotations

import pytest

from tollspan.budget import CLAMP_MINIMUM_TOKENS, parse_rules
from tollspan.usage import ConfigError


def a_document(on_exceed: str) -> str:
    return f"version: 1\nbudgets:\n  - id: a\n    limit: 1 USD\n    on_exceed: {on_exceed}\n"


@pytest.mark.parametrize(
    ("written", "minimum"),
    [
        ("clamp", CLAMP_MINIMUM_TOKENS),
        ("{clamp: {}}", CLAMP_MINIMUM_TOKENS),
        ("{clamp: {minimum: 7}}", 7),
    ],
)
def test_a_budget_that_clamps_has_a_minimum(written: str, minimum: int) -> None:
    (budget,) = parse_rules(a_document(written)).budgets
    assert (budget.on_exceed, budget.clamp_minimum_tokens) == ("clamp", minimum)


def test_a_budget_may_reroute_by_globs_in_their_order_and_clamp_too() -> None:
    written = "{reroute: {'gpt-4o*': gpt-4o-mini, '*': 7}, clamp: {minimum: 7}}"
    (budget,) = parse_rules(a_document(written)).budgets
    assert budget.on_exceed == "reroute"
    assert budget.reroute == (("gpt-4o*", "gpt-4o-mini"), ("*", "7"))
    assert budget.clamp_minimum_tokens == 7


@pytest.mark.parametrize("written", ["deny", "warn", "shadow"])
def test_others_have_none(written: str) -> None:
    (budget,) = parse_rules(a_document(written)).budgets
    assert (budget.on_exceed, budget.clamp_minimum_tokens) == (written, None)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{}", "`on_exceed` is empty; expected deny, "),
        ("{clmp: {}}", "unknown key `clmp` in on_exceed; known: "),
        ("{clamp: 256}", "on_exceed.clamp is no mapping of keys to values"),
        ("{clamp: {least: 1}}", "unknown key `least` in on_exceed.clamp; known: minimum"),
        ("{clamp: {minimum: 0}}", "`minimum` is '0'; expected a number of output tokens, 1 or "),
        ("{clamp: {minimum: 1.5}}", "`minimum` is '1.5'; expected a number of output tokens"),
        (
            "reroute",
            "`on_exceed` is 'reroute'; expected one of deny, clamp, warn, shadow, {reroute",
        ),
        ("{reroute: {}}", "`reroute` is empty; expected models such as {gpt-4o: gpt-4o-mini}"),
        ("{reroute: gpt-4o}", "on_exceed.reroute is no mapping of keys to values"),
        ("{reroute: {gpt-4o: }}", "`reroute` has 'gpt-4o': ''; expected a model's name"),
        ("{reroute: {'': a}}", "`reroute` has '': 'a'; expected a model's name"),
        ("{reroute: {a: [b]}}", "`on_exceed.reroute.a` is no plain value"),
        ("[clamp]", "`on_exceed` is no plain value"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(written: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rules(a_document(written), source="tollspan.yaml")
    assert str(caught.value).startswith(f"tollspan.yaml:5: {says}")
