"""Rules said in sentences."""

from __future__ import annotations

import pytest

from tollspan.budget import parse_rules
from tollspan.cli import _sentences


def test_who_has_which_plan_is_said() -> None:
    document = """
version: 1
plans:
  free: {budgets: [{id: free-month, limit: 1 USD, window: month}]}
  pro: {budgets: []}
assign: {acme: {plan: pro, anchor: 2026-11-14}, beta: pro, "*": free}
"""
    rules = parse_rules(document)
    assert _sentences.sentence(rules.budgets[0]).startswith(
        "free-month (plan free): at most 1.00 USD for each customer in each calendar month (UTC);"
    )
    assert _sentences.defaults_sentences(rules) == (
        "Customers that have the plan pro: 2.",
        "Everybody else has the plan free.",
    )
    rules = parse_rules(document.replace(', "*": free', ""))
    assert _sentences.defaults_sentences(rules)[1] == "Everybody else has no plan."


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("limit: 1 USD, window: quarter", "at most 1.00 USD in each quarter of a year (UTC);"),
        (
            "limit: 1 USD, window: {rolling: 300s}",
            "at most 1.00 USD in any 5m, whenever they begin; over all calls",
        ),
        (
            "limit: 1 USD, per: session, window: {idle: 1800s}",
            "at most 1.00 USD for each session until it was idle for 30m; over all calls",
        ),
        ("limit: 1 USD, window: trace", "at most 1.00 USD in each trace; over all calls"),
        ("limit: 1 USD, window: year", "at most 1.00 USD in each calendar year (UTC);"),
        (
            "limit: 1 USD, window: {every: month, anchor: 2026-01-31, timezone: Asia/Tokyo}",
            "at most 1.00 USD in each month, of which one begins on 2026-01-31 (Asia/Tokyo);",
        ),
        (
            "limit: 1 call, window: {every: 14 days, anchor: 2026-11-14}",
            "at most 1 call in each 14 days, of which one begins on 2026-11-14 (UTC);",
        ),
        (
            "limit: 5 USD, per: [customer, user], limits: [{customer: acme, limit: 9 USD}]",
            (
                "at most 5.00 USD for each customer for each user in all, for good, "
                "9.00 USD for customer acme; over all calls;"
            ),
        ),
        (
            "limit: 1 call, where: {model: ['gpt-*', '!*-mini', '!*-nano'], user: '!u'}",
            (
                "at most 1 call in all, for good; over calls whose model is gpt-*, but not *-mini "
                "nor *-nano and whose user is not u;"
            ),
        ),
    ],
)
def test_a_budget_is_said_in_a_sentence(budget: str, says: str) -> None:
    (found,) = parse_rules(f"version: 1\nbudgets: [{{id: a, {budget}}}]").budgets
    assert _sentences.sentence(found).startswith(f"a: {says}")


@pytest.mark.parametrize(
    ("on_exceed", "says"),
    [
        ("deny", "a call that may not fit is refused"),
        ("clamp", "a call that may not fit is let write less, and refused below 256 tokens"),
        (
            "{clamp: {minimum: 9}}",
            "a call that may not fit is let write less, and refused below 9 tokens",
        ),
        (
            "{reroute: {gpt-4o: gpt-4o-mini, o3: o4-mini}}",
            (
                "a call that may not fit goes out with a cheaper model (gpt-4o → gpt-4o-mini, "
                "o3 → o4-mini), else is refused"
            ),
        ),
        (
            "{reroute: {gpt-4o: gpt-4o-mini}, clamp: {}}",
            (
                "a call that may not fit goes out with a cheaper model (gpt-4o → gpt-4o-mini), "
                "else is let write less, and refused below 256 tokens"
            ),
        ),
        ("warn", "a call that may not fit goes through, and somebody is warned"),
    ],
)
def test_what_becomes_of_a_call_that_does_not_fit_is_said(on_exceed: str, says: str) -> None:
    rules = parse_rules(f"version: 1\nbudgets: [{{id: a, limit: 1 USD, on_exceed: {on_exceed}}}]")
    assert _sentences.sentence(rules.budgets[0]).endswith(f"; {says}.")


def test_a_limit_that_is_injected_is_said() -> None:
    rules = parse_rules("version: 1\ndefaults: {on_unbounded: inject}")
    assert _sentences.defaults_sentences(rules) == (
        "Calls without a limit on their output go out with the most that fits.",
    )


def test_what_may_be_spent_in_an_outage_is_said() -> None:
    rules = parse_rules("version: 1\ndefaults: {on_unavailable: {allow_up_to: 5%}}")
    (said,) = _sentences.defaults_sentences(rules)
    assert said.endswith(
        "from slices that each process was granted before, together 5 % of each limit."
    )
