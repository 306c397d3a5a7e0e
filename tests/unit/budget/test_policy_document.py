"""The policies of the rules' document: what they may say, and how it is said what is wrong."""

from __future__ import annotations

import pytest

from tollspan.budget import Condition, Loop, Policy, parse_rules
from tollspan.usage import ConfigError


def policies(*lines: str) -> tuple[Policy, ...]:
    """Read policies, each written as a mapping without its braces."""
    text = "\n".join(f"  - {{{line}}}" for line in lines)
    return parse_rules(f"version: 1\npolicies:\n{text}").policies


def test_every_key_is_read() -> None:
    assert policies(
        "id: models, where: {tag.tier: free}, allow: {model: ['*-mini', '*haiku*'],"
        " provider: openai}, deny: {model: 'o1*'}, on_violation: warn, message: No.,"
        " upgrade_url: 'https://example.com'",
        "id: stop, kill: true",
        "id: whose, require: [customer, tag.cost_center]",
        "id: few, most_cost: '1,000.50 USD', most_in_flight: 10, per: [customer, model],"
        " most_depth: 5",
        "id: stuck, loop: {repeats: 50, within: 60s, of: [customer, model, turn]}",
        "id: fast, loop: {repeats: 1, within: 2 h, of: []}",
        "id: ready, kill: off, where: {agent: crawler}, on_violation: shadow",
    ) == (
        Policy(
            id="models",
            where=(Condition("tag.tier", ("free",)),),
            allow=(
                Condition("model", ("*-mini", "*haiku*")),
                Condition("provider", ("openai",)),
            ),
            deny=(Condition("model", ("o1*",)),),
            on_violation="warn",
            message="No.",
            upgrade_url="https://example.com",
        ),
        Policy(id="stop", kill=True),
        Policy(id="whose", require=("customer", "tag.cost_center")),
        Policy(
            id="few",
            most_cost_nanousd=1_000_500_000_000,
            most_in_flight=10,
            per=("customer", "model"),
            most_depth=5,
        ),
        Policy(
            id="stuck",
            loop=Loop(repeats=50, within_seconds=60, of=("customer", "model", "turn")),
        ),
        Policy(id="fast", loop=Loop(repeats=1, within_seconds=7_200, of=())),
        Policy(id="ready", where=(Condition("agent", ("crawler",)),), on_violation="shadow"),
    )


def test_without_policies_there_are_none() -> None:
    assert parse_rules("version: 1").policies == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("kill: true", "a policy has no `id`", id="no id"),
        pytest.param("id: a b, kill: true", "`id` is 'a b'; expected 1 to 128", id="odd id"),
        pytest.param("id: a", "says nothing of calls; expected allow, deny, kill", id="empty"),
        pytest.param("id: a, where: {model: x}", "says nothing of calls", id="only where"),
        pytest.param("id: a, kil: true", "unknown key `kil` in a policy; known: id,", id="key"),
        pytest.param("id: a, kill: 1", "`kill` is '1'; expected true or false", id="no boolean"),
        pytest.param("id: a, kill: 'true'", "`kill` is 'true'; expected true or", id="text"),
        pytest.param("id: a, allow: [gpt-4o]", "allow is no mapping", id="a list"),
        pytest.param("id: a, allow: {}", "`allow` is empty", id="allows nothing"),
        pytest.param("id: a, deny: {}", "`deny` is empty", id="denies nothing"),
        pytest.param("id: a, allow: {model: []}", "`allow.model` is empty", id="no value"),
        pytest.param("id: a, deny: {model: ''}", "`deny.model` is empty", id="empty value"),
        pytest.param(
            "id: a, allow: {colour: red}", "`allow` names 'colour'; expected provider", id="colour"
        ),
        pytest.param("id: a, require: []", "`require` is empty", id="requires nothing"),
        pytest.param(
            "id: a, require: model", "`require` names 'model'; expected customer", id="a subject"
        ),
        pytest.param(
            "id: a, require: [user, user]", "`require` names 'user' twice", id="required twice"
        ),
        pytest.param("id: a, most_cost: 5", "`most_cost` is '5'; expected an amount", id="bare"),
        pytest.param("id: a, most_cost: 5 calls", "`most_cost` is in calls; exp", id="calls"),
        pytest.param("id: a, most_in_flight: -1", "a whole number from 0", id="less than none"),
        pytest.param("id: a, most_depth: 1.5", "`most_depth` is '1.5'; expected", id="half"),
        pytest.param("id: a, most_depth: '2'", "`most_depth` is '2'; expected a", id="a text"),
        pytest.param("id: a, most_depth: 1000000", "whole number from 0 to 999999", id="large"),
        pytest.param(
            "id: a, kill: true, per: user", "expected `most_in_flight` too", id="nothing to divide"
        ),
        pytest.param(
            "id: a, most_in_flight: 1, per: turn", "`per` names 'turn'; expected prov", id="turn"
        ),
        pytest.param("id: a, loop: 50", "loop is no mapping", id="no loop"),
        pytest.param("id: a, loop: {repeats: 1, of: turn}", "`loop` has no `within`", id="when"),
        pytest.param(
            "id: a, loop: {repeats: 0, within: 1s, of: turn}",
            "`loop.repeats` is 0; expected 1 to 10000",
            id="none at all",
        ),
        pytest.param(
            "id: a, loop: {repeats: 1, within: 60, of: turn}",
            "`loop.within` is '60'; expected a time such as `60s`",
            id="no unit",
        ),
        pytest.param(
            "id: a, loop: {repeats: 1, within: 25h, of: turn}", "24h at most", id="for too long"
        ),
        pytest.param(
            "id: a, loop: {repeats: 1, within: 1s, of: [turns]}",
            "`loop.of` names 'turns'; expected turn, provider",
            id="turns",
        ),
        pytest.param(
            "id: a, loop: {repeats: 1, within: 1s, of: turn, on: x}",
            "unknown key `on` in loop; known: repeats, within, of",
            id="a key of loop",
        ),
        pytest.param(
            "id: a, kill: true, on_violation: ask",
            "`on_violation` is 'ask'; expected one of deny, warn, shadow",
            id="another outcome",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        policies("id: fine, kill: true", line)
    assert str(raised.value).startswith("rules:4: ")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("policies:\n  - {id: a, kill: true}\n  - {id: a, kill: true}", id="policies"),
        pytest.param(
            "budgets: [{id: a, limit: 1 USD}]\npolicies:\n  - {id: a, kill: true}", id="a budget"
        ),
    ],
)
def test_no_two_rules_have_one_id(text: str) -> None:
    with pytest.raises(ConfigError, match="rules:4: two rules have the id 'a'"):
        parse_rules(f"version: 1\n{text}")


def test_policies_are_a_list() -> None:
    with pytest.raises(ConfigError, match="rules:2: `policies` is no list"):
        parse_rules("version: 1\npolicies: {a: 1}")
