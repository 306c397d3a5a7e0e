"""The schema and the parser are of one mind about policies; sentences say what they mean."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tollspan.budget import parse_rules
from tollspan.cli import config_schema
from tollspan.cli._policy_sentences import policy_sentence
from tollspan.usage import ConfigError

CONFIG = jsonschema.Draft202012Validator(config_schema())

patterns = st.sampled_from(
    ["gpt-4o*", "", "!", "!free", "free", 7, True, [], ["a", "b*"], ["a", ""], {"a": 1}]
)
keys = st.sampled_from(["model", "tool", "customer", "tag.x", "tag.", "colour"])
conditions = st.dictionaries(keys, patterns, max_size=2) | st.just(["gpt-4o"])
whom = st.sampled_from(["customer", "session", "tag.tier", "tag.", "model", "turn", ""])
alike = st.sampled_from(["turn", "model", "customer", "tag.x", "tag.", "tool", "colour", ""])
counts = st.sampled_from([0, 1, 999_999, 1_000_000, -1, 2.0, 2.5, "2", "", None, [1], True])
parts: dict[str, st.SearchStrategy[object]] = {
    "id": st.sampled_from(["a", "0", "A.b_c", "-a", "", "é", "x" * 129, 7]),
    "where": conditions,
    "allow": conditions,
    "deny": conditions,
    "kill": st.sampled_from([True, False, 1, "true", "yes", None, []]),
    "most_cost": st.sampled_from(
        ["0.50 USD", "0 USD", "-1 USD", "5 tokens", "5", 5, None, "1000000001 USD", " 7 USD "]
    ),
    "most_in_flight": counts,
    "most_depth": counts,
    "loop": st.fixed_dictionaries(
        {},
        optional={
            "repeats": counts,
            "within": st.sampled_from(
                [
                    "60s",
                    "5 m",
                    "1h",
                    "24h",
                    "25h",
                    "1440m",
                    "1441m",
                    "86400s",
                    "86401s",
                    "0s",
                    "s",
                    "1d",
                    "01s",
                    "1.5h",
                    60,
                    None,
                    " 60s",
                ]
            ),
            "of": alike | st.lists(alike, max_size=3),
        },
    )
    | st.just([]),
    "per": whom | st.lists(whom, max_size=3),
    "require": whom | st.lists(whom, max_size=3),
    "on_violation": st.sampled_from(["deny", "warn", "shadow", "ask", "", None, 7]),
    "message": st.sampled_from(["Used up.", "", 7, ["a"]]),
    "upgrade_url": st.just("https://example.com/plans"),
    "kil": st.just(True),
}
# One part at a time is odd, so that what is wrong with it is not hidden by another.
nearly_valid = st.one_of(
    *(
        st.fixed_dictionaries({"id": st.just("a"), "kill": st.just(True), name: odd})
        for name, odd in parts.items()
    ),
    st.fixed_dictionaries(
        {
            "id": st.just("a"),
            "loop": st.fixed_dictionaries(
                {"repeats": counts, "within": st.just("60s"), "of": st.just("turn")}
            )
            | st.fixed_dictionaries(
                {"repeats": st.just(1), "within": st.just("60s"), "of": st.lists(alike)}
            ),
        }
    ),
    st.fixed_dictionaries({"id": st.just("a"), "most_in_flight": counts, "per": parts["per"]}),
)
policies = st.fixed_dictionaries({}, optional=parts)


@settings(max_examples=400, deadline=None)
@given(nearly_valid | policies)
def test_the_schema_and_the_parser_are_of_one_mind_about_policies(policy: object) -> None:
    document = {"version": 1, "policies": [policy]}
    try:
        parse_rules(yaml.safe_dump(document, allow_unicode=True))
    except ConfigError:
        assert not CONFIG.is_valid(document)
    else:
        CONFIG.validate(document)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        pytest.param("kill: true", "no call; of all calls; another call is refused.", id="kill"),
        pytest.param(
            "allow: {model: [a*, '!ab']}, deny: {customer: '!acme'}",
            "only calls whose model is a*, but not ab and whose customer is not not acme; of all "
            "calls; another call is refused.",
            id="what is left out",
        ),
        pytest.param("kill: false", "is switched off.", id="off"),
        pytest.param(
            "allow: {model: ['*-mini', o3]}, deny: {tool: rm}, require: tag.cc,"
            " where: {customer: acme}, on_violation: warn",
            "only calls whose model is *-mini or o3 and whose tool is not rm and whose tag cc is "
            "known; of those whose customer is acme; another call goes through, and somebody is "
            "warned.",
            id="all",
        ),
        pytest.param(
            "most_cost: 0.5 USD, most_in_flight: 10, per: [customer, model], most_depth: 3",
            "only calls that cost at most 0.50 USD and of which at most 10 calls for each customer "
            "and model are in flight in one process and whose agents are nested at most 3 deep; "
            "of all calls; another call is refused.",
            id="limits",
        ),
        pytest.param(
            "loop: {repeats: 50, within: 5m, of: [customer, turn]}",
            "only calls of which at most 50 calls are made within 300 s that have customer and "
            "turn in common; of all calls; another call is refused.",
            id="loop",
        ),
        pytest.param(
            "loop: {repeats: 1, within: 1s, of: []}",
            "only calls of which at most 1 call is made within 1 s; of all calls; another call is "
            "refused.",
            id="all calls are alike",
        ),
    ],
)
def test_a_policy_is_said_in_a_sentence(policy: str, says: str) -> None:
    (found,) = parse_rules(f"version: 1\npolicies: [{{id: it, {policy}}}]").policies
    assert policy_sentence(found) == f"it: {says}"
