"""What differs between two documents of rules is said, all of it, and nothing else."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import parse_rules
from tollspan.cli import _rule_changes

Limits = dict[str, int]
limits = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4))


def document(budgets: Limits) -> str:
    said = [{"id": name, "limit": f"{limit} USD"} for name, limit in budgets.items()]
    return json.dumps({"version": 1, "budgets": said})


@given(limits, limits)
def test_budgets_are_told_by_what_becomes_of_them(before: Limits, after: Limits) -> None:
    found = _rule_changes.rule_changes(parse_rules(document(before)), parse_rules(document(after)))
    told = {what: {one.id for one in found if one.what == what} for what in ("added", "removed")}
    assert told["added"] == after.keys() - before.keys()
    assert told["removed"] == before.keys() - after.keys()
    changed = {one.id for one in found if one.what == "changed"}
    assert changed == {one for one in before if after.get(one, before[one]) != before[one]}
    assert all(one.keys == ("limit",) for one in found if one.what == "changed")
    assert len(found) == sum(len(names) for names in told.values()) + len(changed)


def test_all_that_a_document_says_is_compared_and_no_password_is_shown() -> None:
    before = parse_rules("""
version: 1
authority: redis://me:first@redis.internal
hosts: {llm.example.internal: openai}
plans:
  free: {budgets: []}
  pro: {budgets: []}
assign: {acme: free, "*": free}
policies: [{id: stop, kill: true, where: {agent: crawler}}]
""")
    after = parse_rules("""
version: 1
authority: redis://me:second@redis.internal
defaults: {on_unavailable: {allow_up_to: 5%}, on_unpriced: deny}
plans:
  free: {budgets: []}
  pro: {budgets: []}
assign: {acme: {plan: pro, anchor: 2026-11-14}, "*": free}
policies: [{id: stop, kill: true, message: Stopped., where: {agent: crawler}}]
""")
    found = _rule_changes.rule_changes(before, after)
    assert [(one.what, one.kind, one.id, one.keys) for one in found] == [
        ("changed", "policy", "stop", ("message",)),
        ("changed", "default", "on_unavailable", ()),
        ("added", "default", "on_unpriced", ()),
        ("changed", "assignment", "acme", ()),
        ("removed", "host", "llm.example.internal", ()),
        ("changed", "authority", "authority", ()),
    ]
    assert found[1].after == "allow up to 5 % of each limit"
    assert (found[3].before, found[3].after) == ("free", "pro from 2026-11-14")
    assert "first" not in str(found)
    assert "second" not in str(found)
