"""A document and what is written of it as JSON are one to whoever reads them as rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import parse_rules
from tollspan.server.rules.as_json import as_json

ROOT = Path(__file__).resolve().parents[4]
DOCUMENTS = {
    "numbers": "version: 1\npolicies: [{id: a, most_in_flight: 3.0, most_depth: 7}]\n",
    "longer numbers": "version: 1\npolicies: [{id: a, most_in_flight: 3.00}]\n",
    "shares": "version: 1\nbudgets: [{id: a, limit: 5 USD, warn_at: [0.50, 0.8, 1]}]\n",
    "switches": "version: 1\npolicies: [{id: a, kill: yes}, {id: b, kill: TRUE}]\n",
    "nothing": "version: 1\nbudgets: [{id: a, limit: 5 USD, message: ~, upgrade_url: }]\n",
    "dates": "version: 1\nbudgets: [{id: a, limit: 5 USD, "
    "window: {every: month, anchor: 2026-11-14}}]\n",
    "odd keys": "version: 1\nbudgets: [{id: a, limit: 5 USD, per: customer, "
    "limits: {007: 1 USD, yes: 2 USD, 1e3: 3 USD}}]\n",
    "aliases": "version: 1\nbudgets: [{id: a, limit: &l 5 USD}, {id: b, limit: *l}]\n",
    "texts": 'version: 1\nbudgets: [{id: "1.5", limit: 5 USD, message: "true\\n\\"💶"}]\n',
    "hosts": "version: 1\nhosts: {127.0.0.1: openai}\ndefaults: {on_unavailable: "
    "{allow_up_to: 5%}}\n",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_both_forms_say_the_same(name: str) -> None:
    text = DOCUMENTS[name]
    assert parse_rules(as_json(text).decode()) == parse_rules(text)


def test_numbers_and_switches_are_what_json_has_for_them() -> None:
    found = json.loads(as_json("version: 1\npolicies: [{id: a, kill: yes, most_depth: 7}]\n"))
    assert found == {"version": 1, "policies": [{"id": "a", "kill": True, "most_depth": 7}]}


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40),
    st.integers(0, 10**6),
    st.decimals("0.0001", 1, places=4),
)
def test_any_text_and_number_comes_through(message: str, count: int, share: object) -> None:
    escaped = "".join(f"\\U{ord(character):08x}" for character in message)
    text = (
        f'version: 1\nbudgets: [{{id: a, limit: {count} tokens, message: "{escaped}", '
        f"warn_at: {share}}}]\npolicies: [{{id: p, most_depth: {min(count, 999_999)}}}]\n"
    )
    rules = parse_rules(as_json(text).decode())
    assert rules == parse_rules(text)
    assert rules.budgets[0].message == message


def test_the_documents_of_the_examples_come_through() -> None:
    found = [path for path in (ROOT / "examples").rglob("*.yaml") if "budgets:" in path.read_text()]
    assert found
    for path in found:
        text = path.read_text()
        assert parse_rules(as_json(text).decode()) == parse_rules(text)
